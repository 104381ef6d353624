"""Items of an index: add, replace, move, delete, read. Each function of several items is one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import transaction
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.records import Item, NewItem

COLUMNS = "id, place, kind, content, name, folder, captions, date, width, height, size, fields"
CHUNK = 500  # parameters of one statement; SQLite before 3.32 allows 999


def put_items(
    connection: sqlite3.Connection, items: Sequence[NewItem], *, source: int, generation: int, dimensions: int
) -> list[int]:
    """Add items; one whose place the index has already is replaced, and keeps its id.

    Returns:
        Their ids, in order. They are acknowledged: a process killed afterwards does not lose them.

    Raises:
        SearchIndexError: a vector of another length than `dimensions`, or one that is not finite.
    """
    vectors = [_stored(item.vector, dimensions, item.place) for item in items]
    with transaction(connection) as revision:
        ids = []
        for item, vector in zip(items, vectors):
            id, changed = _put_item(connection, item, source)
            ids.append(id)
            if changed:  # its vectors in other generations are of the former content
                _remove_vectors(connection, "item = ?", (id,), revision)
            _put_vector(connection, ids[-1], generation, vector, item.text_bias, item.image_bias, revision)
    return ids


def delete_items(connection: sqlite3.Connection, ids: Iterable[int]) -> int:
    """Delete items with their vectors in all generations; returns how many there were.

    A thumbnail goes with the last item of its content.
    """
    ids = list(ids)
    with transaction(connection) as revision:
        return sum(_delete(connection, ids[i : i + CHUNK], revision) for i in range(0, len(ids), CHUNK))


def move_items(connection: sqlite3.Connection, moves: Sequence[tuple[int, NewItem]], *, source: int) -> None:
    """Give items, whose contents were found elsewhere, new places; ids, vectors and thumbnails stay.

    All but the vector and the thumbnail are taken from the new item, also where its place is the one that it had.
    """
    with transaction(connection):
        for id, item in moves:
            connection.execute("UPDATE items SET place = ? WHERE id = ?", (item.place, id))
            _put_item(connection, item, source)


def read_items(connection: sqlite3.Connection, ids: Sequence[int]) -> list[Item]:
    """Items by id, in the order of `ids`; ids that are gone are left out."""
    found: dict[int, Item] = {}
    for start in range(0, len(ids), CHUNK):
        chunk = [int(id) for id in ids[start : start + CHUNK]]
        marks = ",".join("?" * len(chunk))
        for row in connection.execute(f"SELECT {COLUMNS} FROM items WHERE id IN ({marks})", chunk):
            found[row[0]] = _item(row)
    return [found[int(id)] for id in ids if int(id) in found]


def all_items(connection: sqlite3.Connection) -> Iterator[Item]:
    """All items by id."""
    return map(_item, connection.execute(f"SELECT {COLUMNS} FROM items ORDER BY id"))


def read_vectors(connection: sqlite3.Connection, ids: Sequence[int], generation: int) -> NDArray[np.float32]:
    """Vectors of items, float32 [n, D], in the order of `ids`.

    Raises:
        SearchIndexError: an item without a vector in this generation.
    """
    found: dict[int, bytes] = {}
    for start in range(0, len(ids), CHUNK):
        chunk = [int(id) for id in ids[start : start + CHUNK]]
        marks = ",".join("?" * len(chunk))
        query = f"SELECT item, vector FROM vectors WHERE generation = ? AND item IN ({marks})"
        found.update(connection.execute(query, (generation, *chunk)))
    missing = [id for id in ids if int(id) not in found]
    if missing:
        raise SearchIndexError(f"item {missing[0]} has no vector in generation {generation}")
    return np.stack([np.frombuffer(found[int(id)], "<f2") for id in ids]).astype(np.float32)


def add_source(connection: sqlite3.Connection, kind: str, location: str, settings: str = "{}") -> int:
    """The id of a source, which is added if it is new; see `itembed_tf.index.schema`."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO sources (kind, location, settings) VALUES (?, ?, ?) "
            "ON CONFLICT (location) DO UPDATE SET kind = excluded.kind, settings = excluded.settings",
            (kind, location, settings),
        )
        return int(connection.execute("SELECT id FROM sources WHERE location = ?", (location,)).fetchone()[0])


def put_vectors(
    connection: sqlite3.Connection,
    generation: int,
    ids: Sequence[int],
    vectors: NDArray[np.float32],
    *,
    biases: NDArray[np.float32],
    mapped: bool = False,
) -> None:
    """Add or replace vectors of items in a generation.

    Args:
        vectors: [n, D], unit length.
        biases: [n, 2]: text_bias and image_bias.
        mapped: whether they were mapped from another encoder's space.
    """
    with transaction(connection) as revision:
        replace_vectors(connection, revision, generation, ids, vectors, biases=biases, mapped=mapped)


def replace_vectors(
    connection: sqlite3.Connection,
    revision: int,
    generation: int,
    ids: Sequence[int],
    vectors: NDArray[np.float32],
    *,
    biases: NDArray[np.float32],
    mapped: bool = False,
) -> None:
    """`put_vectors` as a part of a transaction of the caller; `revision` is what `transaction` yields."""
    for id, vector, (text_bias, image_bias) in zip(ids, vectors, biases.tolist()):
        stored = _stored(vector, vectors.shape[1], f"item {id}")
        _put_vector(connection, int(id), generation, stored, text_bias, image_bias, revision, mapped)


def _stored(vector: NDArray[np.float32], dimensions: int, what: str) -> bytes:
    if vector.shape != (dimensions,):
        raise SearchIndexError(f"{what}: a vector of shape {vector.shape}; this index has {dimensions} dimensions")
    if not np.isfinite(vector).all():
        raise SearchIndexError(f"{what}: its vector is NaN or infinite; the training may have diverged")
    return vector.astype("<f2").tobytes()


def _put_item(connection: sqlite3.Connection, item: NewItem, source: int) -> tuple[int, bool]:
    """Add or replace an item without its vector; its id, and whether it had another content before."""
    before = connection.execute("SELECT id, content FROM items WHERE place = ?", (item.place,)).fetchone()
    captions = json.dumps(item.captions, ensure_ascii=False)
    fields = json.dumps(dict(item.fields), ensure_ascii=False)
    described = (item.name, item.folder, captions, item.date, item.width, item.height, item.size, fields)
    values = (source, item.place, item.kind, item.content, item.stamp, *described)
    names = "source, place, kind, content, stamp, name, folder, captions, date, width, height, size, fields"
    if before:
        id = int(before[0])
        connection.execute(f"UPDATE items SET ({names}) = ({','.join('?' * len(values))}) WHERE id = ?", (*values, id))
        connection.execute("DELETE FROM texts WHERE rowid = ?", (id,))
        if before[1] != item.content:
            _drop_thumbnail(connection, before[1])
    else:
        cursor = connection.execute(f"INSERT INTO items ({names}) VALUES ({','.join('?' * len(values))})", values)
        id = int(cursor.lastrowid or 0)
    texts = ("\n".join(item.captions), item.name, item.folder)
    connection.execute("INSERT INTO texts (rowid, captions, name, folder) VALUES (?, ?, ?, ?)", (id, *texts))
    if item.thumbnail is not None:
        connection.execute("INSERT OR IGNORE INTO thumbnails VALUES (?, ?)", (item.content, item.thumbnail))
    return id, bool(before) and before[1] != item.content


def _put_vector(
    connection: sqlite3.Connection,
    id: int,
    generation: int,
    vector: bytes,
    text_bias: float,
    image_bias: float,
    revision: int,
    mapped: bool = False,
) -> None:
    _remove_vectors(connection, "generation = ? AND item = ?", (generation, id), revision)
    connection.execute(
        "INSERT INTO vectors (generation, item, vector, text_bias, image_bias, mapped) VALUES (?, ?, ?, ?, ?, ?)",
        (generation, id, vector, text_bias, image_bias, int(mapped)),
    )


def _delete(connection: sqlite3.Connection, ids: Sequence[int], revision: int) -> int:
    marks = ",".join("?" * len(ids))
    found = connection.execute(f"SELECT id, content FROM items WHERE id IN ({marks})", list(ids)).fetchall()
    _remove_vectors(connection, f"item IN ({marks})", list(ids), revision)
    connection.execute(f"DELETE FROM texts WHERE rowid IN ({marks})", list(ids))
    connection.execute(f"DELETE FROM items WHERE id IN ({marks})", list(ids))
    for content in {content for _, content in found}:
        _drop_thumbnail(connection, content)
    return len(found)


def _remove_vectors(connection: sqlite3.Connection, condition: str, values: Sequence[int], revision: int) -> None:
    connection.execute(
        f"INSERT INTO removed SELECT row, generation, ? FROM vectors WHERE {condition}", (revision, *values)
    )
    connection.execute(f"DELETE FROM vectors WHERE {condition}", tuple(values))


def _drop_thumbnail(connection: sqlite3.Connection, content: str) -> None:
    connection.execute(
        "DELETE FROM thumbnails WHERE content = ?1 AND NOT EXISTS (SELECT 1 FROM items WHERE content = ?1)", (content,)
    )


def _item(row: Sequence[Any]) -> Item:
    values = dict(zip(COLUMNS.split(", "), row))
    return Item(**{**values, "captions": tuple(json.loads(values["captions"])), "fields": json.loads(values["fields"])})
