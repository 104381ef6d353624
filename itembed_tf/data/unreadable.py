"""Which pictures cannot be read: found and named before training, and left out unless they are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.data.images import load_image
from itembed_tf.data.readers import Group, ImageSource, read_image
from itembed_tf.errors import UserError


class TooManyUnreadable(UserError, RuntimeError):
    """More pictures cannot be read than the run was told to accept."""


def find_unreadable(groups: Sequence[Group]) -> list[dict[str, str]]:
    """Decode every picture once, as training will; give {"image", "reason"} for each that cannot be read."""
    found = small_pictures(groups, size=32)
    return [{"image": name, "reason": picture} for name, picture in found if isinstance(picture, str)]


def small_pictures(groups: Sequence[Group], size: int) -> Iterator[tuple[str, np.ndarray | str]]:
    """Every picture, in order: its name, and uint8 [size, size, 3] or the reason why it cannot be read."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(data: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.round(load_image(data, size=size, fit="stretch")), tf.uint8)

    look = or_reason(decode)
    named = [pair for group in groups for pair in named_pictures(group)]
    with ThreadPoolExecutor() as pool:
        yield from tqdm(pool.map(look, named), total=len(named), desc="checking pictures", unit=" pictures")


def or_reason(one: Any) -> Callable[[tuple[str, ImageSource]], tuple[str, Any]]:
    """A function for threads, from (name, picture) to (name, what `one` makes of its bytes or the reason why not).

    Args:
        one: tf.function of a scalar string, the file's bytes, with an input signature.
    """
    traced = one.get_concrete_function()  # here, once: the threads would each begin to

    def look(item: tuple[str, ImageSource]) -> tuple[str, Any]:
        name, image = item
        try:
            data = tf.io.read_file(image) if isinstance(image, str) else tf.constant(read_image(image))
            return name, traced(data).numpy()
        except tf.errors.OpError as error:
            return name, error.message.splitlines()[0][:200]
        except OSError as error:
            return name, str(error)

    return look


def named_pictures(group: Group) -> list[tuple[str, ImageSource]]:
    """The group's pictures under the names that they are reported by."""
    return [(i if isinstance(i, str) else f"{group.id}, picture {n}", i) for n, i in enumerate(group.images, 1)]


def refuse_too_many(broken: Sequence[dict[str, str]], total: int, max_percent: float) -> None:
    """Raise TooManyUnreadable if more than `max_percent` of `total` images are unreadable; the message lists them."""
    if len(broken) > max_percent / 100 * total:
        listed = "\n".join(f"  {b['image']}: {b['reason']}" for b in broken[:50])
        raise TooManyUnreadable(
            f"{len(broken)} of {total} pictures cannot be read, more than the {max_percent} % that max_broken_percent"
            f" allows. Repair or remove them, or raise the limit:\n{listed}" + ("\n  ..." if len(broken) > 50 else "")
        )


def drop_unreadable(groups: Sequence[Group], broken: Sequence[dict[str, str]], max_percent: float) -> list[Group]:
    """The groups without their broken pictures, and without the groups that have none left.

    Raises:
        TooManyUnreadable: they are more than `max_percent` of all pictures; the message lists them.
    """
    refuse_too_many(broken, sum(len(group.images) for group in groups), max_percent)
    names = {b["image"] for b in broken}
    kept = [
        replace(group, images=tuple(image for name, image in named_pictures(group) if name not in names))
        for group in groups
    ]
    return [group for group in kept if group.images]
