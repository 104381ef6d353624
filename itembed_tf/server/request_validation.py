"""Checks of the items of a request before the model runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import grpc
import numpy as np

from itembed_tf.data.image_headers import ImageError, check_cost, read_header
from itembed_tf.data.pillow_images import damage, prepare_image
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.limits import Limits

IMAGE_INPUT = "image_bytes"  # the input that holds images; all other string inputs hold texts
_MAX_REPORTED = 16  # invalid items that an error lists
_MAX_SECONDS = 0.5  # CPU time for all items of a request; an ordinary image takes ten microseconds


def check_items(inputs: Mapping[str, np.ndarray], limits: Limits) -> list[int]:
    """Check every item of a request, and return the cost of each: that of an image's pixels, 1 otherwise.

    Raises:
        RequestError: inputs of different lengths, more items than the queue holds, strings that are not an image,
            images or texts above the limits. The message lists the indices of the invalid items.
    """
    lengths = {len(values) for values in inputs.values()}
    if len(lengths) != 1:
        counts = {name: len(values) for name, values in inputs.items()}
        raise invalid_argument(f"inputs have different numbers of items: {counts}")
    (items,) = lengths
    check_item_count(items, limits)
    costs, errors, end = [1] * items, {}, time.thread_time() + _MAX_SECONDS
    for name, values in inputs.items():
        if values.dtype != object:
            continue
        for i, value in enumerate(values.tolist() if values.ndim == 1 else []):
            if time.thread_time() > end:
                message = f"the headers of {i} of {items} images took {_MAX_SECONDS} s: they are not ordinary images"
                raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            try:
                costs[i] = _cost(name, value, limits)
            except ValueError as error:
                errors[f"{name}[{i}]"] = f"is {error}"
    if errors:
        message = "; ".join(f"{item} {error}" for item, error in list(errors.items())[:_MAX_REPORTED])
        remaining = len(errors) - _MAX_REPORTED
        raise invalid_argument(message + (f"; and {remaining} more" if remaining > 0 else ""))
    return costs


def check_item_count(items: int, limits: Limits) -> None:
    """Raise RequestError for more items than the queue of a model holds."""
    if items > limits.max_queue:
        raise invalid_argument(f"the request has {items} items; the maximum is {limits.max_queue}, send fewer")


def _cost(name: str, value: bytes, limits: Limits) -> int:
    if name != IMAGE_INPUT:
        if len(value) > limits.max_text:
            raise ValueError(f"a text of {len(value):,} bytes; the maximum is {limits.max_text:,}")
        return 1
    header = read_header(value)
    check_cost(header, limits.max_pixels, setting="--max-pixels")
    return header.cost


def prepare_images(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs of a batch, checked already, with images that only Pillow decodes as BMP, which every encoder decodes.

    Raises:
        RequestError: an image that Pillow cannot decode; the message has no index.
    """
    ready = dict(inputs)
    if IMAGE_INPUT in inputs and inputs[IMAGE_INPUT].ndim == 1:
        try:
            images = [prepare_image(value, max_pixels=sys.maxsize) for value in inputs[IMAGE_INPUT].tolist()]
        except ImageError as error:
            raise invalid_argument(f"is {error}") from None
        ready[IMAGE_INPUT] = np.array(images, object)
    return ready


def image_damage(inputs: Mapping[str, np.ndarray]) -> str:
    """What is wrong with the one image of a batch that the model failed on; "" if that is not what it has."""
    images = inputs.get(IMAGE_INPUT, np.zeros(0)).tolist()
    return f"is {damage(images[0], read_header(images[0]))}" if len(images) == 1 else ""
