"""Names that were taught to the text encoder of an index: what is kept of each, and the change of the encoders.

`itembed_tf.teaching` makes lessons; reading them needs no TensorFlow. A lesson belongs to the encoders as they were
before any lesson, the base; the encoders of an index are always those of the base with all its lessons.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.generations import StoredEncoders
from itembed_tf.index.records import Generation

NEAR = 0.9  # cosine; a name is taught until it is 0.95


@dataclass(frozen=True, eq=False)
class Lesson:
    """A name, and images of what it names.

    Attributes:
        number: of the lesson in its index; 0 before it is stored.
        name: as the user wrote it.
        images: SHA-256 (hex) of each image file.
        vectors: of the images, float32 [n, D], unit length.
        created: ISO 8601.
        recall_before, recall_after: mean R@1 of both directions on dev, in percent.
        words: of the name that the vocabulary lacked.
        word_rows: their rows of the word table, float32 [len(words), width].
    """

    number: int
    name: str
    images: tuple[str, ...]
    vectors: NDArray[np.float32]
    created: str = ""
    recall_before: float = 0.0
    recall_after: float = 0.0
    words: tuple[str, ...] = ()
    word_rows: NDArray[np.float32] | None = None


def read_lessons(connection: sqlite3.Connection, generation: Generation) -> list[Lesson]:
    """The lessons of the encoders of a generation, in their order."""
    query = (
        "SELECT number, name, images, vectors, created, recall_before, recall_after, words, word_rows "
        "FROM lessons WHERE base = ? ORDER BY number"
    )
    return [
        _lesson(row, generation.dimensions)
        for row in connection.execute(query, (generation.image_contract,)).fetchall()
    ]


def is_taught(connection: sqlite3.Connection, generation: Generation, vector: NDArray[np.float32]) -> bool:
    """Whether the vector of a text, float32 [D], is as near to the images of a lesson as its name is."""
    lessons = read_lessons(connection, generation) if generation.base else []
    means = [lesson.vectors.mean(axis=0) for lesson in lessons]
    return any(vector @ mean >= NEAR * np.linalg.norm(mean) for mean in means)


def write_lessons(
    connection: sqlite3.Connection, generation: Generation, encoders: StoredEncoders, lessons: Sequence[Lesson]
) -> None:
    """Put the encoders with these lessons in the place of those of a generation; part of a transaction of the caller.

    Args:
        generation: whose vectors stay as they are: the image encoder is the same.
        encoders: the base with all `lessons`.
        lessons: all of the base; those with number 0 get one, and stored ones that are missing are removed.
    """
    base = generation.image_contract
    connection.execute(
        "INSERT OR IGNORE INTO encoders VALUES (?, ?, ?, ?, ?)",
        (encoders.contract, encoders.dimensions, encoders.text_encoder, encoders.tokenizer, encoders.calibration),
    )
    if encoders.contract != base:
        connection.execute("INSERT OR REPLACE INTO taught VALUES (?, ?)", (encoders.contract, base))
    connection.execute("UPDATE generations SET contract = ? WHERE number = ?", (encoders.contract, generation.number))
    kept = [lesson.number for lesson in lessons]
    marks = ",".join("?" * len(kept))
    connection.execute(f"DELETE FROM lessons WHERE base = ? AND number NOT IN ({marks})", (base, *kept))
    for lesson in lessons:
        connection.execute(
            "INSERT OR REPLACE INTO lessons VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (lesson.number or None, base, *_values(lesson)),
        )
    unused = "SELECT contract FROM taught WHERE contract NOT IN (SELECT contract FROM generations)"
    connection.execute(f"DELETE FROM encoders WHERE contract IN ({unused})")
    connection.execute("DELETE FROM taught WHERE contract NOT IN (SELECT contract FROM generations)")


def _values(lesson: Lesson) -> tuple[object, ...]:
    rows = np.zeros(0, np.float32) if lesson.word_rows is None else lesson.word_rows
    return (
        lesson.name,
        json.dumps(lesson.images),
        lesson.vectors.astype("<f4").tobytes(),
        lesson.created,
        lesson.recall_before,
        lesson.recall_after,
        json.dumps(lesson.words, ensure_ascii=False),
        rows.astype("<f4").tobytes(),
    )


def _lesson(row: Sequence[Any], dimensions: int) -> Lesson:
    number, name, images, vectors, created, before, after, words, rows = row
    listed = tuple(json.loads(words))
    table = np.frombuffer(rows, "<f4").astype(np.float32)
    return Lesson(
        number=number,
        name=name,
        images=tuple(json.loads(images)),
        vectors=np.frombuffer(vectors, "<f4").astype(np.float32).reshape(-1, dimensions),
        created=created,
        recall_before=before,
        recall_after=after,
        words=listed,
        word_rows=table.reshape(len(listed), -1) if listed else None,
    )
