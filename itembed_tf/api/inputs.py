"""Checks of images and texts that a caller passes, with errors that say which item is wrong."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from itembed_tf.data.image_headers import ImageError
from itembed_tf.data.pillow_images import prepare_image
from itembed_tf.data.readers import read_image

ImageInput: TypeAlias = "str | PathLike[str] | bytes | NDArray[np.uint8]"


def list_of(values: Any, function: str, kind: str) -> list[Any]:
    """The values as a list; a single one and an empty list are refused with the function's name."""
    if isinstance(values, (str, bytes, PathLike)):
        raise TypeError(f"{function} takes a list of {kind}s; put the single {kind} into a list: [{kind}]")
    items = list(values)
    if not items:
        raise ValueError(f"{function}: the list of {kind}s is empty")
    return items


def image_content(item: Any, index: int, max_pixels: int) -> bytes:
    """The bytes of an image file that the encoder decodes (`itembed_tf.data.pillow_images.prepare_image`)."""
    if isinstance(item, (bytes, str, PathLike)):
        return _file_content(item, index, max_pixels)
    if not isinstance(item, np.ndarray):
        raise TypeError(f"images[{index}] is a {type(item).__name__}; expected a path, bytes, or a uint8 array")
    if item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3 or not item.size:
        raise TypeError(
            f"images[{index}] is an array {item.dtype} {item.shape}; expected RGB uint8 [height, width, 3], 0 to 255"
        )
    import tensorflow as tf

    return bytes(tf.io.encode_png(item).numpy())  # lossless: arrays are prepared by the same code as files


def _file_content(item: bytes | str | PathLike[str], index: int, max_pixels: int) -> bytes:
    if not isinstance(item, bytes) and not Path(item).is_file():
        raise FileNotFoundError(f"images[{index}]: no file at {item}")
    try:
        return prepare_image(read_image(item if isinstance(item, bytes) else str(item)), max_pixels=max_pixels)
    except ImageError as error:
        raise ValueError(f"images[{index}]{image_name(item)} is {error}") from None


def text_content(item: Any, index: int) -> bytes:
    """A text as UTF-8; `index` names it in the error for what is no text."""
    if isinstance(item, bytes):
        return item
    if not isinstance(item, str):
        raise TypeError(f"texts[{index}] is a {type(item).__name__}; expected a str, or bytes in UTF-8")
    return item.encode("utf-8", "replace")


def image_name(item: Any) -> str:
    """The path of an image in brackets, for messages; nothing for bytes and arrays."""
    return f" ({item})" if isinstance(item, (str, PathLike)) else ""


def is_embedding(value: Any) -> bool:
    """Whether a value is an array of floats [D] or [n, D]."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim in (1, 2)
