"""A calibration that encoders got after an index was built from them: its biases are given to all items at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import transaction
from itembed_tf.index.generations import read_encoders
from itembed_tf.index.items import replace_vectors
from itembed_tf.index.records import Generation, Kind
from itembed_tf.index.vectors import fast_calibration
from itembed_tf.retrieval.calibration import CALIBRATION_FILE

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
    kinds: tuple[Kind, ...] = ("image", "text")
    with transaction(connection) as revision:
        connection.execute("UPDATE encoders SET calibration = ? WHERE contract = ?", (content, generation.contract))
        for kind in kinds:
            for mapped in (False, True):
                for ids, vectors in _chunks(connection, generation, kind, mapped):
                    biases = np.stack(calibration.item_biases(vectors, kind), axis=1)
                    replace_vectors(connection, revision, generation.number, ids, vectors, biases=biases, mapped=mapped)
    return True


def _chunks(
    connection: sqlite3.Connection, generation: Generation, kind: Kind, mapped: bool
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Ids of items and their vectors float32 [n, D], by id."""
    query = (
        "SELECT item, vector FROM vectors JOIN items ON items.id = item "
        "WHERE generation = ? AND kind = ? AND mapped = ? AND item > ? ORDER BY item LIMIT ?"
    )
    after = 0
    while rows := connection.execute(query, (generation.number, kind, int(mapped), after, CHUNK)).fetchall():
        ids, blobs = zip(*rows)
        yield list(ids), np.frombuffer(b"".join(blobs), "<f2").reshape(len(ids), -1).astype(np.float32)
        after = ids[-1]
