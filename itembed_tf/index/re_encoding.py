"""Vectors that an upgrade fills in: which items lack one, encoded and mapped vectors, pairs to learn a bridge on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.bridge import Bridge
from itembed_tf.index.items import put_vectors, read_items, read_vectors
from itembed_tf.index.records import Generation, Item, Kind
from itembed_tf.retrieval import Calibration

CHUNK = 1000  # items mapped in one transaction
# Items of a kind, NULL for both, whose vector in a generation is mapped or missing.
_WITHOUT_OWN = (
    "FROM items LEFT JOIN vectors ON vectors.item = items.id AND vectors.generation = ? "
    "WHERE items.kind = coalesce(?, items.kind) AND coalesce(vectors.mapped, 1) = 1"
)


def items_to_encode(
    connection: sqlite3.Connection, generation: int, batch: int, kind: Kind | None = None
) -> Iterator[list[Item]]:
    """Batches of items without a vector of their own in a generation, by id; those that are mapped included.

    Args:
        connection: to the index.
        generation: its number.
        batch: items of a batch. It is read when it is asked for; items that the caller leaves out do not come again.
        kind: of the items; None for both.
    """
    after = 0
    while ids := [
        row[0]
        for row in connection.execute(
            f"SELECT id {_WITHOUT_OWN} AND items.id > ? ORDER BY items.id LIMIT ?", (generation, kind, after, batch)
        )
    ]:
        after = ids[-1]
        yield read_items(connection, ids)


def sample_to_encode(connection: sqlite3.Connection, generation: int, count: int, seed: int = 0) -> list[Item]:
    """Images without a vector in a generation, at random, so that a bridge learned on them suits all: at most `count`.

    What earlier calls have encoded counts, so an interrupted upgrade does not begin anew.
    """
    encoded = connection.execute(
        "SELECT count(*) FROM vectors JOIN items ON items.id = item AND kind = 'image' "
        "WHERE generation = ? AND mapped = 0",
        (generation,),
    ).fetchone()[0]
    rows = connection.execute(f"SELECT id {_WITHOUT_OWN} ORDER BY id", (generation, "image"))
    chosen = np.random.default_rng(seed).permutation([row[0] for row in rows])[: max(0, count - encoded)]
    return read_items(connection, chosen.tolist())


def put_encoded(
    connection: sqlite3.Connection,
    generation: Generation,
    items: Sequence[Item],
    vectors: NDArray[np.float32],
    calibration: Calibration | None,
) -> None:
    """Add vectors of items by the encoders of a generation, or put them in the place of mapped ones."""
    _put(connection, generation, items, vectors, calibration, mapped=False)


def _put(
    connection: sqlite3.Connection,
    generation: Generation,
    items: Sequence[Item],
    vectors: NDArray[np.float32],
    calibration: Calibration | None,
    *,
    mapped: bool,
) -> None:
    biases = np.zeros((len(items), 2), np.float32)
    for kind in ("image", "text") if calibration else ():
        rows = np.flatnonzero([item.kind == kind for item in items])
        if len(rows):
            assert calibration is not None
            biases[rows] = np.column_stack(calibration.item_biases(vectors[rows], kind))
    put_vectors(connection, generation.number, [item.id for item in items], vectors, biases=biases, mapped=mapped)


def paired_vectors(
    connection: sqlite3.Connection, old: Generation, new: Generation, limit: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Old and new vectors of images that were encoded by both, [n, D] and [n, E], n at most `limit`, by id."""
    query = (
        "SELECT new.item FROM vectors AS new JOIN vectors AS old ON old.item = new.item AND old.generation = ? "
        "JOIN items ON items.id = new.item "
        "WHERE new.generation = ? AND new.mapped = 0 AND old.mapped = 0 AND items.kind = 'image' "
        "ORDER BY new.item LIMIT ?"
    )
    ids = [row[0] for row in connection.execute(query, (old.number, new.number, limit))]
    if not ids:
        return np.zeros((0, old.dimensions), np.float32), np.zeros((0, new.dimensions), np.float32)
    return read_vectors(connection, ids, old.number), read_vectors(connection, ids, new.number)


def map_the_rest(
    connection: sqlite3.Connection,
    old: Generation,
    new: Generation,
    bridge: Bridge,
    calibration: Calibration | None,
) -> int:
    """Give every image without a vector in `new` its mapped one; returns how many.

    Sentences have no bridge; they are encoded in a moment.
    """
    query = (
        "SELECT item FROM vectors AS old JOIN items ON items.id = item AND kind = 'image' "
        "WHERE generation = ? AND item > ? AND NOT EXISTS "
        "(SELECT 1 FROM vectors WHERE generation = ? AND item = old.item) ORDER BY item LIMIT ?"
    )
    after, count = 0, 0
    while ids := [row[0] for row in connection.execute(query, (old.number, after, new.number, CHUNK))]:
        items, vectors = read_items(connection, ids), bridge.map(read_vectors(connection, ids, old.number))
        _put(connection, new, items, vectors, calibration, mapped=True)
        after, count = ids[-1], count + len(ids)
    return count
