"""Images of lessons as vectors: items of the index, and files that are no items, of which a small copy is kept."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.data.thumbnails import small_image
from itembed_tf.index.image_encoder import ImageEncoder
from itembed_tf.index.items import read_items, read_vectors
from itembed_tf.index.records import Generation
from itembed_tf.index.vectors import Vectors
from itembed_tf.teaching import Lesson, TeachingError

SIDE = 1024  # pixels of a kept copy, more than any image encoder reads


@dataclass(frozen=True, eq=False)
class LessonImages:
    """Images of a lesson.

    Attributes:
        contents: SHA-256 (hex) of each file.
        vectors: float32 [n, D], unit length.
        copies: small copies of those that are no items, by content.
    """

    contents: tuple[str, ...]
    vectors: NDArray[np.float32]
    copies: Mapping[str, bytes] = field(default_factory=dict)


def lesson_images(
    index: Path, connection: sqlite3.Connection, generation: Generation, items: Sequence[int], files: Sequence[bytes]
) -> LessonImages:
    """Images that a user names: items by id, then contents of image files.

    Raises:
        TeachingError: no such item, a sentence, or an image that cannot be read.
        SearchIndexError: the index has no image encoder.
    """
    found = {item.id: item for item in read_items(connection, items)}
    for id in items:
        if id not in found:
            raise TeachingError(f"the index has no item {id}; `itembed search INDEX TEXT` shows the ids of its hits")
        if found[id].kind != "image":
            raise TeachingError(f"item {id} is a sentence; a lesson takes images")
    vectors = np.zeros((0, generation.dimensions), np.float32)
    if items:
        vectors = read_vectors(connection, items, generation.number)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents, copies = [found[id].content for id in items], dict[str, bytes]()
    if files:
        vectors = np.concatenate([vectors, _embed(index, generation, files)])
        copies = {hashlib.sha256(file).hexdigest(): small_image(file, SIDE).data for file in files}
        contents += [hashlib.sha256(file).hexdigest() for file in files]
    return LessonImages(tuple(contents), vectors, copies)


def _embed(index: Path, generation: Generation, files: Sequence[bytes]) -> NDArray[np.float32]:
    vectors = ImageEncoder(index, generation.image_contract).embed(files)
    for i, vector in enumerate(vectors):
        if isinstance(vector, str):
            raise TeachingError(f"image {i + 1} of the lesson is {vector}")
    return np.stack(vectors)


def images_again(
    connection: sqlite3.Connection, generation: Generation, vectors: Vectors, lesson: Lesson
) -> LessonImages:
    """The images of a lesson as vectors of another generation; those that are gone, or not encoded, are left out."""
    found: dict[str, NDArray[np.float32]] = {}
    for content, vector in vectors.known(lesson.images).items():
        found[content] = vector.vector / np.linalg.norm(vector.vector)
    for content in lesson.images:
        row = connection.execute("SELECT image FROM lesson_images WHERE content = ?", (content,)).fetchone()
        if content not in found and row:
            (embedded,) = vectors.embed_files([row[0]])
            if not isinstance(embedded, str):
                found[content] = embedded
    contents = tuple(content for content in lesson.images if content in found)
    rows = [found[content] for content in contents]
    none = np.zeros((0, generation.dimensions), np.float32)
    return LessonImages(contents, np.stack(rows).astype(np.float32) if rows else none)
