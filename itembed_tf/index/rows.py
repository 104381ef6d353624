"""Rows of a generation as arrays: what engines search. They are read from SQLite, or mapped from a derived file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from itembed_tf.index.errors import SearchIndexError

CHUNK = 4096  # rows fetched at a time
PARAMETERS = 500  # of one statement


@dataclass(frozen=True)
class Rows:
    """n rows of the table `vectors`, by ascending row number.

    Attributes:
        rows: their numbers, int64 [n].
        items: ids of their items, int64 [n].
        vectors: float16 or float32 [n, D]; float16 is what the database has, float32 is faster to scan.
        biases: float32 [n, 2]: text_bias and image_bias.
    """

    rows: NDArray[np.int64]
    items: NDArray[np.int64]
    vectors: NDArray[np.float16] | NDArray[np.float32]
    biases: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


def last_row(connection: sqlite3.Connection) -> int:
    """The highest row number in use, of all generations; 0 in an empty index."""
    return int(connection.execute("SELECT coalesce(max(row), 0) FROM vectors").fetchone()[0])


def count_rows(connection: sqlite3.Connection, generation: int, after: int, last: int) -> int:
    """How many rows ``after < row <= last`` a generation has."""
    query = "SELECT count(*) FROM vectors WHERE generation = ? AND row > ? AND row <= ?"
    return int(connection.execute(query, (generation, after, last)).fetchone()[0])


def iterate_rows(
    connection: sqlite3.Connection, generation: int, dimensions: int, after: int, last: int
) -> Iterator[Rows]:
    """Rows ``after < row <= last`` of a generation, `CHUNK` at a time, as float16.

    Raises:
        SearchIndexError: a vector has another length than `dimensions`.
    """
    # "+" keeps SQLite from the index over (generation, item), by which the rows would have to be sorted.
    query = (
        "SELECT row, item, text_bias, image_bias, vector FROM vectors "
        "WHERE row > ? AND row <= ? AND +generation = ? ORDER BY row"
    )
    cursor = connection.execute(query, (after, last, generation))
    while found := cursor.fetchmany(CHUNK):
        yield _arrays(found, generation, dimensions)


def rows_numbered(connection: sqlite3.Connection, numbers: NDArray[np.int64], generation: int, dimensions: int) -> Rows:
    """The rows with these numbers, which ascend; those that are gone are left out."""
    found: list[Any] = []
    for start in range(0, len(numbers), PARAMETERS):
        chunk = numbers[start : start + PARAMETERS].tolist()
        marks = ",".join("?" * len(chunk))
        query = (
            "SELECT row, item, text_bias, image_bias, vector FROM vectors "
            f"WHERE row IN ({marks}) AND +generation = ? ORDER BY row"
        )
        found += connection.execute(query, (*chunk, generation))
    return _arrays(found, generation, dimensions) if found else _empty(dimensions, np.float16)


def _arrays(found: Sequence[Any], generation: int, dimensions: int) -> Rows:
    rows, items, text_biases, image_biases, blobs = zip(*found)
    data = b"".join(blobs)
    if len(data) != 2 * dimensions * len(found):
        raise SearchIndexError(
            f"a vector of generation {generation}, between rows {rows[0]} and {rows[-1]}, does not have "
            f"{dimensions} dimensions: the index is damaged; restore it from a backup, or rebuild it"
        )
    return Rows(
        np.array(rows, np.int64),
        np.array(items, np.int64),
        np.frombuffer(data, "<f2").reshape(len(found), dimensions),
        np.array([text_biases, image_biases], np.float32).T.copy(),
    )


def _empty(dimensions: int, dtype: DTypeLike) -> Rows:
    return Rows(
        np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, dimensions), dtype), np.empty((0, 2), np.float32)
    )


def read_rows(
    connection: sqlite3.Connection,
    generation: int,
    dimensions: int,
    after: int,
    last: int,
    dtype: DTypeLike = np.float32,
) -> Rows:
    """The same as one `Rows`, its vectors converted to `dtype`."""
    found = iterate_rows(connection, generation, dimensions, after, last)
    return joined(
        [_empty(dimensions, dtype), *(Rows(r.rows, r.items, r.vectors.astype(dtype), r.biases) for r in found)]
    )


def joined(parts: list[Rows]) -> Rows:
    """Rows one after the other."""
    return Rows(
        np.concatenate([p.rows for p in parts]),
        np.concatenate([p.items for p in parts]),
        np.concatenate([p.vectors for p in parts]),
        np.concatenate([p.biases for p in parts]),
    )
