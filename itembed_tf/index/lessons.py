"""Names that were taught to the text encoder of an index: what is kept of each, and the change of the encoders.

`itembed_tf.teaching` makes lessons; reading them needs no TensorFlow. A lesson belongs to the encoders as they were
before any lesson, the base; the encoders of an index are always those of the base with all its lessons.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from itembed_tf.index.generations import StoredEncoders
from itembed_tf.index.records import Generation
from itembed_tf.teaching import Lesson
from itembed_tf.text import Vocabulary

COLUMNS = "name, images, vectors, created, recall_before, recall_after, words, word_rows, problem"
MOST_IMAGES = 64  # of one lesson


def read_lessons(connection: sqlite3.Connection, generation: Generation) -> list[Lesson]:
    """The lessons of the encoders of a generation, in their order, also those that the encoders do not have."""
    query = f"SELECT number, {COLUMNS} FROM lessons WHERE base = ? ORDER BY number"
    names = ["number", *COLUMNS.split(", ")]
    rows = connection.execute(query, (generation.image_contract,)).fetchall()
    return [_lesson(dict(zip(names, row)), generation.dimensions) for row in rows]


def applied(lessons: Iterable[Lesson]) -> list[Lesson]:
    """Those that the encoders have."""
    return [lesson for lesson in lessons if not lesson.problem]


def taught_name(connection: sqlite3.Connection, generation: Generation, text: str, vocabulary: Vocabulary) -> str:
    """The name of a lesson that a text has, or has a new word of; "" if there is none."""
    if not generation.base:
        return ""
    words = vocabulary.tokenize(text)
    for lesson in applied(read_lessons(connection, generation)):
        if _spaced(vocabulary.tokenize(lesson.name)) in _spaced(words) or set(lesson.words) & set(words):
            return lesson.name
    return ""


def _spaced(words: Sequence[str]) -> str:
    return f" {' '.join(words)} "


def write_lessons(
    connection: sqlite3.Connection,
    generation: Generation,
    encoders: StoredEncoders,
    lessons: Sequence[Lesson],
    images: Mapping[str, bytes] | None = None,
) -> None:
    """Put the encoders with these lessons in the place of those of a generation; part of a transaction of the caller.

    Args:
        generation: whose vectors stay as they are: the image encoder is the same.
        encoders: the base with all `lessons` that have no problem.
        lessons: all of the base; those with number 0 get one, and stored ones that are missing are removed.
        images: small copies, by SHA-256 of the file, of images of the lessons that are no items.
    """
    base = generation.image_contract
    connection.execute(
        "INSERT OR IGNORE INTO encoders VALUES (?, ?, ?, ?, ?)",
        (encoders.contract, encoders.dimensions, encoders.text_encoder, encoders.tokenizer, encoders.calibration),
    )
    if encoders.contract != base:
        connection.execute("INSERT OR REPLACE INTO taught VALUES (?, ?)", (encoders.contract, base))
    connection.execute("UPDATE generations SET contract = ? WHERE number = ?", (encoders.contract, generation.number))
    put_lessons(connection, generation, lessons)
    connection.executemany("INSERT OR IGNORE INTO lesson_images VALUES (?, ?)", (images or {}).items())
    unused = "SELECT contract FROM taught WHERE contract NOT IN (SELECT contract FROM generations)"
    connection.execute(f"DELETE FROM encoders WHERE contract IN ({unused})")
    connection.execute("DELETE FROM taught WHERE contract NOT IN (SELECT contract FROM generations)")
    forget_lessons(connection)


def put_lessons(connection: sqlite3.Connection, generation: Generation, lessons: Sequence[Lesson]) -> None:
    """Put lessons in the place of those of a generation, whose encoders stay; see `write_lessons`."""
    base, kept = generation.image_contract, [lesson.number for lesson in lessons]
    marks = ",".join("?" * len(kept))
    connection.execute(f"DELETE FROM lessons WHERE base = ? AND number NOT IN ({marks})", (base, *kept))
    for lesson in lessons:
        connection.execute(
            f"INSERT OR REPLACE INTO lessons (number, base, {COLUMNS}) VALUES ({','.join('?' * 11)})",
            (lesson.number or None, base, *_values(lesson)),
        )


def forget_lessons(connection: sqlite3.Connection, *numbers: int) -> None:
    """Remove lessons by number, those of encoders that no generation has, and images that no lesson needs."""
    connection.executemany("DELETE FROM lessons WHERE number = ?", [(number,) for number in numbers])
    used = "SELECT coalesce(base, contract) FROM generations LEFT JOIN taught USING (contract)"
    connection.execute(f"DELETE FROM lessons WHERE base NOT IN ({used})")
    shown = "SELECT value FROM lessons, json_each(lessons.images)"
    connection.execute(f"DELETE FROM lesson_images WHERE content NOT IN ({shown})")


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
        lesson.problem,
    )


def _lesson(row: Mapping[str, Any], dimensions: int) -> Lesson:
    words = tuple(json.loads(row["words"]))
    table = np.frombuffer(row["word_rows"], "<f4").astype(np.float32)
    return Lesson(
        **{name: row[name] for name in ("number", "name", "created", "recall_before", "recall_after", "problem")},
        images=tuple(json.loads(row["images"])),
        vectors=np.frombuffer(row["vectors"], "<f4").astype(np.float32).reshape(-1, dimensions),
        words=words,
        word_rows=table.reshape(len(words), -1) if len(table) else None,
    )


def lesson_json(lesson: Lesson) -> dict[str, Any]:
    """A lesson as values of JSON, without its vectors."""
    names = ("number", "name", "images", "created", "recall_before", "recall_after", "words", "problem")
    return {name: getattr(lesson, name) for name in names}
