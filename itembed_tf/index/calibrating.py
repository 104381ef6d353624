"""A calibration that encoders got after an index was built from them: its biases are given to all items at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import transaction
from itembed_tf.index.generations import read_encoders
from itembed_tf.index.items import replace_vectors
from itembed_tf.index.records import Generation, Kind
from itembed_tf.index.vectors import fast_calibration
from itembed_tf.retrieval.calibration import CALIBRATION_FILE, Calibration

CHUNK = 2000  # vectors whose biases are computed at a time


def take_calibration(connection: sqlite3.Connection, generation: Generation, exports: Path) -> bool:
    """Store the calibration of exports in the index, with new biases for all vectors, in one transaction.

    Args:
        connection: that writes.
        generation: of these exports.
        exports: folder with ``encoders.json``.

    Returns:
        False where nothing is to be done: the exports have no calibration, or the index has the same, or its encoders
        were taught names since.

    Raises:
        CalibrationError: the file is damaged, or belongs to other encoders.
    """
    file = exports / CALIBRATION_FILE
    if not file.is_file() or generation.contract != generation.image_contract:
        return False
    content = file.read_bytes()
    if content == read_encoders(connection, generation.contract).calibration:
        return False
    calibration = fast_calibration(content, generation.contract)
    assert calibration is not None
    with transaction(connection) as revision:
        connection.execute("UPDATE encoders SET calibration = ? WHERE contract = ?", (content, generation.contract))
        update_biases(connection, revision, generation, calibration)
    return True


def update_biases(
    connection: sqlite3.Connection,
    revision: int,
    generation: Generation,
    calibration: Calibration,
    kinds: Sequence[Kind] = ("image", "text"),
    smallest: float = 0.0,
) -> None:
    """Compute the biases of the items of a generation again, as a part of a transaction of the caller.

    Args:
        connection: that writes.
        revision: what `transaction` yields.
        generation: whose vectors stay.
        calibration: of its encoders.
        kinds: of the items.
        smallest: change of a bias; an item whose biases change by less keeps them, and its row in derived files.
    """
    for kind in kinds:
        for mapped in (False, True):
            for ids, vectors, before in _chunks(connection, generation, kind, mapped):
                biases = np.stack(calibration.item_biases(vectors, kind), axis=1)
                rows = np.flatnonzero(np.abs(biases - before).max(axis=1) > smallest)
                changed, own = [ids[row] for row in rows], biases[rows]
                replace_vectors(
                    connection, revision, generation.number, changed, vectors[rows], biases=own, mapped=mapped
                )


def _chunks(
    connection: sqlite3.Connection, generation: Generation, kind: Kind, mapped: bool
) -> Iterator[tuple[list[int], NDArray[np.float32], NDArray[np.float32]]]:
    """Ids of items, their vectors float32 [n, D] and their biases float32 [n, 2], by id."""
    query = (
        "SELECT item, vector, text_bias, image_bias FROM vectors JOIN items ON items.id = item "
        "WHERE generation = ? AND kind = ? AND mapped = ? AND item > ? ORDER BY item LIMIT ?"
    )
    after = 0
    while rows := connection.execute(query, (generation.number, kind, int(mapped), after, CHUNK)).fetchall():
        ids, blobs, *biases = zip(*rows)
        vectors = np.frombuffer(b"".join(blobs), "<f2").reshape(len(ids), -1).astype(np.float32)
        yield list(ids), vectors, np.array(biases, np.float32).T
        after = ids[-1]
