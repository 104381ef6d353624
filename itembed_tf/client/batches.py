"""Long inputs -> requests of a bounded size, and their answers -> one; what both clients share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itembed_tf.client.calls import Call, ServingError
from itembed_tf.client.tensors import as_array

BATCH, BATCH_BYTES = 32, 8_000_000  # most items and bytes of one request
IMAGE, TEXT = "image_encoder", "text_encoder"


class Texts(NamedTuple):
    """Embeddings of n sentences.

    Attributes:
        embedding: float32 [n, D], unit length.
        known_words: int32 [n]; at 0 the embedding says nothing about the sentence.
    """

    embedding: np.ndarray
    known_words: np.ndarray


def read_image(pictures: Sequence[bytes | str | Path]) -> np.ndarray:
    _refuse_one(pictures, "pictures")
    contents = [p if isinstance(p, bytes) else Path(os.fspath(p)).read_bytes() for p in pictures]
    return as_array(contents) if contents else np.empty(0, object)


def sentence_bytes(sentences: Sequence[str | bytes]) -> np.ndarray:
    _refuse_one(sentences, "sentences")
    return as_array(sentences) if len(sentences) else np.empty(0, object)


def _refuse_one(items: Any, what: str) -> None:
    if isinstance(items, (str, bytes, Path)):
        raise ValueError(f"{what} must be a list; put the one that you have into a list: [{str(items)[:20]!r}]")


def split(model: str, name: str, items: Any, **rest: Any) -> Iterator[tuple[int, Call]]:
    """The place of the first item, and the call, of each request; an empty input is one request, refused there."""
    sizes = [len(item) for item in items] if items.dtype == object else [items[:1].nbytes] * len(items)
    start, held = 0, 0
    for i, size in enumerate([*sizes, 0]):
        full = i - start == BATCH or (i > start and held + size > BATCH_BYTES)
        if full or i == len(sizes):
            yield start, Call("predict", model, inputs={name: items[start:i]}, **rest)
            start, held = i, 0
        held += size


def with_place(error: ServingError, call: Call, start: int, total: int) -> ServingError:
    """Says which of the caller's items were in the request, as the server counts from the request's first."""
    (items,) = call.inputs.values()
    if len(items) == total:
        return error
    place = f"in the request of items {start} to {start + len(items) - 1}, counted from {start} as 0: "
    return ServingError(error.code, place + error.details)


def joined(answers: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(answers) == 1:
        return answers[0]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def texts_of(answer: dict[str, np.ndarray]) -> Texts:
    return Texts(answer["embedding"], answer["known_words"])
