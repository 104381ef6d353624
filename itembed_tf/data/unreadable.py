"""Unreadable images: found by decoding every image before training, and left out unless there are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from threading import Event, Lock
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.config import Config
from itembed_tf.data.decoding import check_image
from itembed_tf.data.image_headers import ImageError, read_header
from itembed_tf.data.images import load_image
from itembed_tf.data.pillow_images import damage, prepare_image
from itembed_tf.data.readers import Group, ImageSource, read_image
from itembed_tf.errors import UserError

LISTED = 50  # unreadable images in an error message
NamedImage: TypeAlias = tuple[str, ImageSource]


@dataclass(frozen=True)
class UnreadableImage:
    """An image that is not read: its name (`named_images`), and what the file is, such as "a truncated PNG image"."""

    image: str
    reason: str


class TooManyUnreadable(UserError, RuntimeError):
    """More images are unreadable than max_broken_percent allows."""


def find_unreadable(groups: Sequence[Group], *, max_pixels: int = Config.max_pixels) -> list[UnreadableImage]:
    """Decode every image once, with the decoder that training uses, and return those that fail.

    Args:
        groups: of any splits.
        max_pixels: images of more pixels, by their header, are not decoded and count as unreadable.
    """
    check = or_unreadable(_checker(), max_pixels, only_check=True)
    return [result for result in _of_all(groups, check) if isinstance(result, UnreadableImage)]


def decode_thumbnails(groups: Sequence[Group], size: int, *, max_pixels: int) -> Iterator[np.ndarray | UnreadableImage]:
    """Decode every image in order, as uint8 [size, size, 3]."""
    return _of_all(groups, or_unreadable(_thumbnail_decoder(size), max_pixels))


def _of_all(groups: Sequence[Group], function: Callable[[NamedImage], Any]) -> Iterator[Any]:
    named = [pair for group in groups for pair in named_images(group)]
    with ThreadPoolExecutor() as pool:
        yield from tqdm(pool.map(function, named), total=len(named), desc="checking images", unit=" images")


@cache
def _thumbnail_decoder(size: int) -> Any:
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def decode(data: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.round(load_image(data, size=size, fit="stretch")), tf.uint8)

    return decode


@cache
def _checker() -> Any:
    return tf.function(check_image, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def or_unreadable(function: Any, max_pixels: int, *, only_check: bool = False) -> Callable[[NamedImage], Any]:
    """Wrap a function of an image file's bytes: it takes a named image, and returns UnreadableImage where it fails.

    Args:
        function: tf.function of a scalar string, with an input signature.
        max_pixels: images of more pixels, by their header, are not decoded.
        only_check: return None for an image that Pillow has decoded, without the function: it cannot fail, and
            TensorFlow keeps the memory of the last large images that it decoded.
    """
    traced = _set_up_once(function.get_concrete_function())  # traced once, rather than in every thread

    def call(named: NamedImage) -> Any:
        name, image = named
        try:
            data = read_image(image)
            prepared = prepare_image(data, max_pixels=max_pixels)
            if only_check and prepared is not data:
                return None
            # As an array of one object: tf.constant copies bytes four times.
            return traced(tf.constant(np.array(prepared, object))).numpy()
        except tf.errors.OpError:
            return UnreadableImage(name, damage(data, read_header(data)))
        except ImageError as error:
            return UnreadableImage(name, str(error))
        except OSError as error:
            return UnreadableImage(name, _system_reason(error))

    return call


def _set_up_once(function: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """Let the first call of a function end before others begin.

    It takes half a second for a decoder: TensorFlow sets the function up, in every thread that calls it meanwhile.
    """
    lock, called = Lock(), Event()

    def call(data: tf.Tensor) -> tf.Tensor:
        if not called.is_set():
            with lock:
                try:
                    return function(data)
                finally:
                    called.set()
        return function(data)

    return call


def _system_reason(error: OSError) -> str:
    reasons = {
        FileNotFoundError: "missing: there is no such file",
        IsADirectoryError: "a folder, not an image",
        PermissionError: "not readable: you have no permission to read it",
    }
    return reasons.get(type(error)) or f"not readable: {error.strerror or error}"


def named_images(group: Group) -> list[NamedImage]:
    """The images of a group with the names that messages use: the path, or the group's id and a number."""
    return [(i if isinstance(i, str) else f"{group.id}, image {n}", i) for n, i in enumerate(group.images, 1)]


def refuse_too_many(unreadable: Sequence[UnreadableImage], total: int, max_percent: float) -> None:
    """Raise TooManyUnreadable if more than `max_percent` of `total` images are unreadable; the message lists them."""
    if len(unreadable) > max_percent / 100 * total:
        lines = [f"  {each.image}: {each.reason}" for each in unreadable[:LISTED]]
        lines += ["  ..."] if len(unreadable) > LISTED else []
        raise TooManyUnreadable(
            f"{len(unreadable)} of {total} images are unreadable, more than max_broken_percent = {max_percent} allows. "
            "Repair or remove them, or raise that setting:\n" + "\n".join(lines)
        )


def drop_unreadable(groups: Sequence[Group], unreadable: Sequence[UnreadableImage], max_percent: float) -> list[Group]:
    """Remove unreadable images, and groups that have no other image.

    Raises:
        TooManyUnreadable: more than `max_percent` of all images are unreadable.
    """
    refuse_too_many(unreadable, sum(len(group.images) for group in groups), max_percent)
    names = {each.image for each in unreadable}
    readable = [
        replace(group, images=tuple(image for name, image in named_images(group) if name not in names))
        for group in groups
    ]
    return [group for group in readable if group.images]
