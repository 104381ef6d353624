"""Encodes queries with the encoders that an index carries: text without TensorFlow, an image with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.calibration import fast_calibration
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import read_encoders
from itembed_tf.index.items import read_items, read_vectors
from itembed_tf.index.lessons import taught_name
from itembed_tf.index.query_vectors import QueryVector, subtract, unknown_words
from itembed_tf.index.records import Generation, Query
from itembed_tf.index.text_encoder import EmbeddedTexts, TextEncoder, load_text_encoder
from itembed_tf.retrieval.calibration import Calibration

if TYPE_CHECKING:
    from itembed_tf.index.image_encoder import ImageEncoder


@dataclass(frozen=True)
class EncodedQuery:
    """A query as a vector.

    Attributes:
        vector: None where vectors are not searched: by="text", or no word of the text is known.
        unknown_words: of the text and of what is subtracted, as the user wrote them.
        notes: for the user, one sentence each.
        leave_out: content (SHA-256) of the item that the query is about; "" for none.
        taught: the name of a lesson that the query has; "" for none. Bands do not hold for it.
    """

    vector: QueryVector | None
    unknown_words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    leave_out: str = ""
    taught: str = ""


class QueryEncoder:
    """The encoders of one index by contract hash, each loaded when it is first needed. Threads may share one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._texts: dict[str, TextEncoder] = {}
        self._images: dict[str, ImageEncoder] = {}
        self._calibrations: dict[str, Calibration | None] = {}

    def encode(
        self, connection: sqlite3.Connection, generation: Generation, query: Query, vector: QueryVector | None = None
    ) -> EncodedQuery:
        """The vector of a query that has a text, an image, an item, or a vector already.

        Raises:
            SearchIndexError: no such item, an image that cannot be read, or encoders that are not there.
        """
        if query.text and query.by == "text":
            return EncodedQuery(None)
        words: tuple[str, ...] = ()
        leave_out = taught = ""
        if query.text:
            embedding, words, note = self._text(connection, generation, query.text)
            if embedding is None:
                rest = (
                    "only captions, names and folders were searched" if query.by == "both" else "nothing was searched"
                )
                return EncodedQuery(None, words, (f"{note}: {rest}",))
            encoded = QueryVector(embedding, "text")
            vocabulary = self._text_encoder(connection, generation).vocabulary
            taught = taught_name(connection, generation, query.text, vocabulary)
        elif vector is not None:
            encoded = _checked(vector, generation)
        elif query.image is not None:
            encoded = QueryVector(self._image(generation, query.image), "image")
        else:
            encoded, leave_out = _of_item(connection, generation, query.like or 0)
        notes = [] if leave_out or taught else self._far(connection, generation, encoded)
        if taught and self._has_bands(connection, generation):
            notes.append(f"{taught!r} was taught: its hits have no band, which were measured without taught names")
        if query.minus:
            minus, more, note = self._text(connection, generation, query.minus)
            words = tuple(dict.fromkeys((*words, *more)))
            if minus is None:
                notes.append(f"{note}: nothing was subtracted")
            else:
                encoded = QueryVector(subtract(encoded.vector, minus), encoded.side)
        return EncodedQuery(encoded, words, tuple(notes), leave_out, taught)

    def embed_texts(
        self, connection: sqlite3.Connection, generation: Generation, texts: Sequence[str]
    ) -> EmbeddedTexts:
        """Texts as vectors of a generation."""
        return self._text_encoder(connection, generation).embed(texts)

    def calibration(self, connection: sqlite3.Connection, generation: Generation) -> Calibration | None:
        """The calibration of a generation's encoders, its banks in float32; None where it has none.

        Raises:
            CalibrationError: a damaged one.
        """
        with self._lock:
            if generation.contract not in self._calibrations:
                stored = read_encoders(connection, generation.contract)
                self._calibrations[generation.contract] = fast_calibration(stored.calibration, generation.contract)
            return self._calibrations[generation.contract]

    def _far(self, connection: sqlite3.Connection, generation: Generation, encoded: QueryVector) -> list[str]:
        """A note if the query is far from all that training saw."""
        calibration = self.calibration(connection, generation)
        if calibration is None or not calibration.is_far(encoded.side, encoded.vector[None])[0]:
            return []
        rate = calibration.far[encoded.side].false_alarms
        seen = "captions" if encoded.side == "text" else "images"
        return [
            f"the {encoded.side} is far from all {seen} of the training, so its hits are probably wrong "
            f"(this is said of {100 * rate:.0f} in 100 that are not)"
        ]

    def _has_bands(self, connection: sqlite3.Connection, generation: Generation) -> bool:
        calibration = self.calibration(connection, generation)
        return calibration is not None and bool(calibration.bands)

    def _text(
        self, connection: sqlite3.Connection, generation: Generation, text: str
    ) -> tuple[NDArray[np.float32] | None, tuple[str, ...], str]:
        """Vector, or None and the reason; and the unknown words."""
        encoder = self._text_encoder(connection, generation)
        embedded = encoder.embed([text])
        words = unknown_words(text, encoder.vocabulary)
        if not embedded.known_words[0]:
            return None, words, f"training saw no word of {text!r}"
        return embedded.vectors[0], words, ""

    def _text_encoder(self, connection: sqlite3.Connection, generation: Generation) -> TextEncoder:
        with self._lock:
            if generation.contract not in self._texts:
                stored = read_encoders(connection, generation.contract)
                self._texts[generation.contract] = load_text_encoder(stored)
            return self._texts[generation.contract]

    def _image(self, generation: Generation, image: bytes) -> NDArray[np.float32]:
        from itembed_tf.index.image_encoder import ImageEncoder  # what decodes images takes time to import

        with self._lock:
            contract = generation.image_contract
            if contract not in self._images:
                self._images[contract] = ImageEncoder(self._folder, contract)
        (embedded,) = self._images[contract].embed([image])
        if isinstance(embedded, str):
            raise SearchIndexError(f"the image of the query is {embedded}")
        return embedded


def _checked(vector: QueryVector, generation: Generation) -> QueryVector:
    values = np.asarray(vector.vector, np.float32)
    if values.shape != (generation.dimensions,) or not np.isfinite(values).all() or not values.any():
        raise SearchIndexError(
            f"the vector of the query has shape {values.shape}; this index takes {generation.dimensions} finite "
            "numbers, not all 0"
        )
    return QueryVector(values / np.linalg.norm(values), vector.side)


def _of_item(connection: sqlite3.Connection, generation: Generation, id: int) -> tuple[QueryVector, str]:
    items = read_items(connection, [id])
    if not items:
        raise SearchIndexError(f"the index has no item {id}; `itembed search` shows the ids of its hits with --json")
    vector = read_vectors(connection, [id], generation.number)[0]
    return QueryVector(vector / np.linalg.norm(vector), items[0].kind), items[0].content
