"""Splitting of long inputs into requests of limited size, and joining of the responses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itembed_tf.client.calls import Call, Prediction, ServingError
from itembed_tf.client.tensors import as_array

MAX_ITEMS, MAX_BYTES = 32, 8_000_000  # of one request
VERSION_CHANGES = 3  # during one long input; after each, all of it is sent again
Image = bytes | bytearray | memoryview | str | Path


class Texts(NamedTuple):
    """Embeddings of n texts.

    Attributes:
        embedding: float32 [n, D], unit length.
        known_words: int32 [n], number of words in the vocabulary; with 0 the embedding carries no information.
        version, contract: of the encoder, as in `Prediction`; one for all texts.
    """

    embedding: np.ndarray
    known_words: np.ndarray
    version: int | None = None
    contract: str = ""


class Images(NamedTuple):
    """Embeddings of n images.

    Attributes:
        embedding: float32 [n, D], unit length.
        version, contract: of the encoder, as in `Prediction`; one for all images.
    """

    embedding: np.ndarray
    version: int | None = None
    contract: str = ""


def image_contents(images: Iterable[Image]) -> np.ndarray:
    """Encoded bytes of images, read from files where a path is given, in an array of dtype object [n]."""
    contents = []
    for i, image in enumerate(_listed(images, "images")):
        if isinstance(image, (bytes, bytearray, memoryview)):
            contents.append(bytes(image))
        elif isinstance(image, (str, os.PathLike)):
            contents.append(Path(image).read_bytes())
        else:
            raise ValueError(f"images[{i}] is {type(image).__name__}; it must be the bytes of an image file, or a path")
    return as_array(contents) if contents else np.empty(0, object)


def text_contents(texts: Iterable[str | bytes]) -> np.ndarray:
    """Texts as UTF-8 bytes, in an array of dtype object [n]."""
    contents = []
    for i, text in enumerate(_listed(texts, "texts")):
        if not isinstance(text, (str, bytes, bytearray)):
            raise ValueError(f"texts[{i}] is {type(text).__name__}; it must be str or UTF-8 bytes")
        contents.append(text if isinstance(text, str) else bytes(text))
    return as_array(contents) if contents else np.empty(0, object)


def id_array(ids: Any) -> np.ndarray:
    """Word ids, int32 [n, L]; ValueError for other shapes, and for numbers that are not whole or do not fit."""
    array = np.asarray(ids)
    if array.dtype.kind not in "iu" or array.ndim != 2:
        raise ValueError(f"ids are {array.dtype} of the shape {list(array.shape)}; they must be whole numbers [n, L]")
    limits = np.iinfo(np.int32)
    if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
        raise ValueError(f"ids are in {array.min()} .. {array.max()}; int32 holds {limits.min} .. {limits.max}")
    return array.astype(np.int32)


def _listed(items: Any, argument: str) -> list[Any]:
    """The items of any ordered iterable, a generator for example."""
    if isinstance(items, (str, bytes, bytearray, memoryview, os.PathLike)):
        raise ValueError(f"{argument} must be a list, for example [{str(items)[:20]!r}]")
    if not isinstance(items, Iterable) or isinstance(items, (Mapping, Set)):
        raise ValueError(f"{argument} is {type(items).__name__}; it must be a list, or another iterable with an order")
    return list(items)


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


def pinned(call: Call, version: int | None) -> Call:
    """The call to one version, whatever it names; the same call if `version` is None."""
    return call if version is None else replace(call, version=version, label=None)


def concatenate(predictions: list[Prediction]) -> Prediction:
    """Join the answers to consecutive requests, which came from one version."""
    if len(predictions) == 1:
        return predictions[0]
    outputs = {
        name: np.concatenate([prediction.outputs[name] for prediction in predictions])
        for name in predictions[0].outputs
    }
    return predictions[0]._replace(outputs=outputs)


def to_texts(prediction: Prediction) -> Texts:
    """The answer of a text encoder as a record."""
    outputs, version, contract = prediction
    return Texts(outputs["embedding"], outputs["known_words"], version, contract)


def to_images(prediction: Prediction) -> Images:
    """The answer of an image encoder as a record."""
    return Images(prediction.outputs["embedding"], prediction.version, prediction.contract)
