"""Vectors that an upgrade fills in: which items lack one, encoded and mapped vectors, pairs to learn a bridge on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.bridge import Bridge
from itembed_tf.index.items import CHUNK, put_vectors, read_vectors
from itembed_tf.index.records import Generation, Kind
from itembed_tf.index.sources import Entry
from itembed_tf.index.vectors import Vector, Vectors

# Items of a kind, NULL for both, whose vector in a generation is mapped or missing.
_WITHOUT_OWN = (
    "FROM items LEFT JOIN vectors ON vectors.item = items.id AND vectors.generation = ? "
    "WHERE items.kind = coalesce(?, items.kind) AND coalesce(vectors.mapped, 1) = 1"
)


@dataclass(frozen=True)
class Pending:
    """An item that is to be encoded: where a source has it, its id, and the content that it had when it was indexed."""

    entry: Entry
    item: int
    content: str


def pending(
    connection: sqlite3.Connection, generation: int, entries: Iterable[Entry], kind: Kind | None = None
) -> Iterator[Pending]:
    """Those of the entries of a source that are items without a vector of their own in a generation.

    Args:
        connection: to the index.
        generation: its number.
        entries: of the source.
        kind: of the items; None for both.
    """
    entries = iter(entries)
    while chunk := list(islice(entries, CHUNK - 2)):
        marks = ",".join("?" * len(chunk))
        query = f"SELECT place, id, content {_WITHOUT_OWN} AND place IN ({marks})"
        rows = connection.execute(query, (generation, kind, *(entry.place for entry in chunk)))
        found = {place: (id, content) for place, id, content in rows}
        yield from (Pending(entry, *found[entry.place]) for entry in chunk if entry.place in found)


def count_pending(connection: sqlite3.Connection, generation: int, kind: Kind | None = None) -> int:
    """How many items have no vector of their own in a generation."""
    return int(connection.execute(f"SELECT count(*) {_WITHOUT_OWN}", (generation, kind)).fetchone()[0])


def pending_of(connection: sqlite3.Connection, generation: int, ids: Sequence[int]) -> list[int]:
    """Those of the items, in order, that have no vector of their own in a generation."""
    found: set[int] = set()
    for start in range(0, len(ids), CHUNK - 2):
        chunk = ids[start : start + CHUNK - 2]
        query = f"SELECT id {_WITHOUT_OWN} AND id IN ({','.join('?' * len(chunk))})"
        found.update(row[0] for row in connection.execute(query, (generation, None, *chunk)))
    return [id for id in ids if id in found]


def sample_images(connection: sqlite3.Connection, generation: int, count: int, seed: int = 0) -> list[int]:
    """Ids of images to encode first, at random, so that a bridge learned on them suits all; at most `count`.

    What earlier calls have encoded counts, so an interrupted upgrade continues.
    """
    encoded = connection.execute(
        "SELECT count(*) FROM vectors JOIN items ON items.id = item AND kind = 'image' "
        "WHERE generation = ? AND mapped = 0",
        (generation,),
    ).fetchone()[0]
    ids = [row[0] for row in connection.execute(f"SELECT id {_WITHOUT_OWN} ORDER BY id", (generation, "image"))]
    chosen: list[int] = np.random.default_rng(seed).permutation(ids)[: max(0, count - encoded)].tolist()
    return sorted(chosen)


def put_encoded(connection: sqlite3.Connection, generation: Generation, vectors: Mapping[int, Vector]) -> None:
    """Add vectors by item, or put them in the place of mapped ones, in one transaction."""
    if vectors:
        rows = np.stack([each.vector for each in vectors.values()])
        biases = np.array([(each.text_bias, each.image_bias) for each in vectors.values()], np.float32)
        put_vectors(connection, generation.number, list(vectors), rows, biases=biases)


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
    connection: sqlite3.Connection, old: Generation, new: Generation, bridge: Bridge, vectors: Vectors
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
        mapped = bridge.map(read_vectors(connection, ids, old.number))
        biases = np.array(vectors.biases(mapped, "image"), np.float32)
        put_vectors(connection, new.number, ids, mapped, biases=biases, mapped=True)
        after, count = ids[-1], count + len(ids)
    return count
