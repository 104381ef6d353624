"""Sentences that an index has as items: a lesson may change their vectors, which are then replaced."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.items import replace_vectors
from itembed_tf.index.records import Generation
from itembed_tf.retrieval.calibration import Calibration
from itembed_tf.teaching.encoder import TrainableTextEncoder

DIFFERENT = 2e-3  # of any component: rounding to float16 changes it by less than half of that


@dataclass(frozen=True, eq=False)
class ChangedSentences:
    """Sentences whose embedding a lesson changed.

    Attributes:
        generation: number.
        ids: of the items, [n].
        vectors: new ones, float32 [n, D].
        biases: new ones, for a text query and for an image query, float32 [n, 2].
    """

    generation: int
    ids: list[int]
    vectors: NDArray[np.float32]
    biases: NDArray[np.float32]

    def write(self, connection: sqlite3.Connection, revision: int) -> None:
        """Replace the vectors, as a part of a transaction of the caller."""
        replace_vectors(connection, revision, self.generation, self.ids, self.vectors, biases=self.biases)


def changed_sentences(
    connection: sqlite3.Connection,
    generation: Generation,
    encoder: TrainableTextEncoder,
    calibration: Calibration | None,
) -> ChangedSentences:
    """The sentences of an index that a text encoder embeds otherwise than their vectors in a generation say."""
    rows = connection.execute(
        "SELECT items.id, captions, vector FROM items JOIN vectors ON item = items.id "
        "WHERE kind = 'text' AND generation = ? ORDER BY items.id",
        (generation.number,),
    ).fetchall()
    none = np.zeros((0, generation.dimensions), np.float32), np.zeros((0, 2), np.float32)
    if not rows:
        return ChangedSentences(generation.number, [], *none)
    ids = encoder.vocabulary.encode([json.loads(captions)[0] for _, captions, _ in rows])
    before = np.stack([np.frombuffer(vector, "<f2") for _, _, vector in rows]).astype(np.float32)
    # As the index has it: a sentence without a known word has no direction.
    now = encoder.embed(ids)
    now[np.count_nonzero(ids, axis=1) == 0] = 0
    changed = np.flatnonzero(np.abs(now - before).max(axis=1) > DIFFERENT)
    vectors = now[changed]
    biases = np.zeros((len(changed), 2), np.float32)
    if calibration is not None and len(changed):
        biases = np.stack(calibration.item_biases(vectors.astype(np.float16), "text"), axis=1)
    return ChangedSentences(generation.number, [rows[i][0] for i in changed], vectors, biases)
