"""Splitting of long inputs into requests of limited size, and joining of the responses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itembed_tf.client.calls import Call, ServingError
from itembed_tf.client.tensors import as_array

MAX_ITEMS, MAX_BYTES = 32, 8_000_000  # of one request


class Texts(NamedTuple):
    """Embeddings of n texts.

    Attributes:
        embedding: float32 [n, D], unit length.
        known_words: int32 [n], number of words in the vocabulary; with 0 the embedding carries no information.
    """

    embedding: np.ndarray
    known_words: np.ndarray


def image_contents(images: Sequence[bytes | str | Path]) -> np.ndarray:
    """Encoded bytes of images, read from files where a path is given, in an array of dtype object [n]."""
    _require_list(images, "images")
    contents = [image if isinstance(image, bytes) else Path(os.fspath(image)).read_bytes() for image in images]
    return as_array(contents) if contents else np.empty(0, object)


def text_contents(texts: Sequence[str | bytes]) -> np.ndarray:
    """Texts as UTF-8 bytes, in an array of dtype object [n]."""
    _require_list(texts, "texts")
    return as_array(texts) if len(texts) else np.empty(0, object)


def _require_list(items: Any, argument: str) -> None:
    if isinstance(items, (str, bytes, Path)):
        raise ValueError(f"{argument} must be a list, for example [{str(items)[:20]!r}]")


def split_into_calls(model: str, name: str, items: Any, **settings: Any) -> Iterator[tuple[int, Call]]:
    """Split `items` into predict calls of at most `MAX_ITEMS` and `MAX_BYTES` (one larger item is sent alone).

    Args:
        model: name of the model.
        name: of the input.
        items: array [n, ...]; an empty array gives one call, which the server rejects.
        settings: signature, version and label of `Call`.

    Yields:
        The index of the first item, and the call.
    """
    sizes = [len(item) for item in items] if items.dtype == object else [items[:1].nbytes] * len(items)
    start, pending = 0, 0
    for i, size in enumerate([*sizes, 0]):
        full = i - start == MAX_ITEMS or (i > start and pending + size > MAX_BYTES)
        if full or i == len(sizes):
            yield start, Call("predict", model, inputs={name: items[start:i]}, **settings)
            start, pending = i, 0
        pending += size


def with_item_range(error: ServingError, call: Call, start: int, total: int) -> ServingError:
    """The error with the range of items that the request held: the server counts from the request's first item."""
    (items,) = call.inputs.values()
    if len(items) == total:
        return error
    prefix = f"in the request of items {start} to {start + len(items) - 1}, where item {start} has index 0: "
    return ServingError(error.code, prefix + error.details)


def concatenate(responses: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the outputs of consecutive requests."""
    if len(responses) == 1:
        return responses[0]
    return {name: np.concatenate([response[name] for response in responses]) for name in responses[0]}


def to_texts(response: dict[str, np.ndarray]) -> Texts:
    """The outputs of a text encoder as a record."""
    return Texts(response["embedding"], response["known_words"])
