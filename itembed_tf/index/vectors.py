"""Vectors of what is added to an index: encoded once for each content, with the biases of the hubness correction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.calibration import fast_calibration
from itembed_tf.index.entry_reading import ReadEntry
from itembed_tf.index.generations import read_encoders
from itembed_tf.index.image_encoder import Embedded, ImageEncoder
from itembed_tf.index.records import Generation, Kind
from itembed_tf.index.text_encoder import TextEncoder, load_text_encoder

EmbedImages: TypeAlias = Callable[[Sequence[bytes]], Sequence[Embedded]]
CHUNK = 500
# Items with their own vector in a generation, to be found by content. CROSS JOIN makes SQLite begin with the items; by
# itself it goes through all vectors of the generation.
OF_CONTENT = "items CROSS JOIN vectors ON item = id AND generation = ? AND mapped = 0"


@dataclass(frozen=True)
class Vector:
    """A vector float32 [D], its biases for a text query and for an image query, and the thumbnail of its content."""

    vector: NDArray[np.float32]
    text_bias: float = 0.0
    image_bias: float = 0.0
    thumbnail: bytes | None = None

    @classmethod
    def none(cls) -> Vector:
        """For an item that keeps the vector it has."""
        return cls(np.zeros(0, np.float32))


class Vectors:
    """Gives vectors to contents: those that the generation has already, and new ones from its encoders.

    Args:
        index: folder of the index.
        connection: to it.
        generation: to which the vectors belong.
        embed_images: in place of the image encoder of the index, which is loaded for the first image otherwise.
        max_pixels: of an image.
    """

    def __init__(
        self,
        index: Path,
        connection: sqlite3.Connection,
        generation: Generation,
        *,
        embed_images: EmbedImages | None,
        max_pixels: int,
    ) -> None:
        self.index, self._connection, self._generation = index, connection, generation
        self._max_pixels = max_pixels
        self._embed_images = embed_images
        self._text_encoder: TextEncoder | None = None
        self._encoders = read_encoders(connection, generation.contract)
        self._calibration = fast_calibration(self._encoders.calibration, generation.contract)

    def of(self, generation: Generation) -> Vectors:
        """The same for a generation with other text encoders: those that were taught names."""
        embed_images = self._embed_images
        return Vectors(self.index, self._connection, generation, embed_images=embed_images, max_pixels=self._max_pixels)

    def known(self, contents: Sequence[str]) -> dict[str, Vector]:
        """The vectors that the generation has, by content, with its thumbnail."""
        found: dict[str, Vector] = {}
        for start in range(0, len(contents), CHUNK):
            chunk = contents[start : start + CHUNK]
            rows = self._connection.execute(
                f"SELECT content, vector, text_bias, image_bias, thumbnails.image FROM {OF_CONTENT} "
                f"LEFT JOIN thumbnails USING (content) WHERE content IN ({','.join('?' * len(chunk))})",
                (self._generation.number, *chunk),
            )
            for content, vector, *others in rows:
                found[content] = Vector(np.frombuffer(vector, "<f2").astype(np.float32), *others)
        return found

    def new(self, entries: Sequence[ReadEntry]) -> list[Vector | str]:
        """Encode entries of contents that the generation lacks; for one that cannot be, what is wrong with it."""
        results: list[Vector | str] = [""] * len(entries)
        kinds: tuple[Kind, ...] = ("image", "text")
        for kind in kinds:
            positions = [i for i, read in enumerate(entries) if read.entry.kind == kind]
            embedded = self._embed(kind, [entries[i] for i in positions]) if positions else []
            good = [vector for vector in embedded if not isinstance(vector, str)]
            biases = iter(self.biases(np.stack(good), kind) if good else ())
            for i, vector in zip(positions, embedded):
                results[i] = vector if isinstance(vector, str) else Vector(vector, *next(biases))
        return results

    def _embed(self, kind: Kind, entries: Sequence[ReadEntry]) -> Sequence[Embedded]:
        if kind == "text":
            self._text_encoder = self._text_encoder or load_text_encoder(self._encoders)
            return list(self._text_encoder.embed([read.entry.captions[0] for read in entries]).vectors)
        if all(read.embedded is not None for read in entries):
            return [read.embedded if read.embedded is not None else "" for read in entries]
        return self.embed_files([read.data for read in entries])

    def embed_files(self, files: Sequence[bytes]) -> Sequence[Embedded]:
        """Vectors of image files by the image encoder of the generation; for one that cannot be read, the reason."""
        if self._embed_images is None:
            self._embed_images = ImageEncoder(self.index, self._generation.image_contract, self._max_pixels).embed
        return self._embed_images(files)

    def biases(self, vectors: NDArray[np.float32], kind: Kind) -> list[tuple[float, float]]:
        """The biases of each vector, [n, D], for a text query and for an image query; 0 without a calibration."""
        if self._calibration is None:
            return [(0.0, 0.0)] * len(vectors)
        stored = vectors.astype(np.float16)  # as the index has them: the correction of equal vectors is equal
        by_text, by_image = self._calibration.item_biases(stored, kind)
        return list(zip(by_text.tolist(), by_image.tolist()))
