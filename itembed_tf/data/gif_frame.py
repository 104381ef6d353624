"""The first frame of a GIF inside a graph. TensorFlow shows transparency as black; here it becomes white."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from itembed_tf.data.image_metadata import replace_bytes

_MAX_BLOCKS = 4096  # extensions and their data blocks before the first frame
_IMAGE, _EXTENSION, _CONTROL = 0x2C, 0x21, 0xF9


def first_frame(data: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Positions of the first frame's descriptor and of the flags of its graphic control extension; 0 for none."""
    size = tf.strings.length(data)
    global_table = tf.where(_byte(data, 10) >= 0x80, 3 * 2 ** ((_byte(data, 10) & 7) + 1), 0)

    def more(offset: tf.Tensor, control: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
        return (offset + 10 < size) & (inside | (_byte(data, offset) == _EXTENSION))

    def step(offset: tf.Tensor, control: tf.Tensor, inside: tf.Tensor) -> tuple[tf.Tensor, ...]:
        here, label = _byte(data, offset), _byte(data, offset + 1)
        control = tf.where(~inside & (label == _CONTROL), offset + 3, control)
        return tf.where(inside, offset + 1 + here, offset + 2), control, ~inside | (here > 0)

    start = (13 + global_table, tf.constant(0), tf.constant(False))
    offset, control, _ = tf.while_loop(more, step, start, maximum_iterations=_MAX_BLOCKS)
    found = tf.cond(offset + 10 < size, lambda: _byte(data, offset) == _IMAGE, lambda: tf.constant(False))
    return tf.where(found, offset, 0), control


def is_whole(data: Any) -> tf.Tensor:
    """Whether the first frame fills the GIF, bool, which has its end mark: TensorFlow decodes it rightly."""
    frame, _ = first_frame(data)

    def fills() -> tf.Tensor:
        corner = tf.strings.substr(data, frame + 1, 4) == b"\0\0\0\0"
        return corner & (tf.strings.substr(data, frame + 5, 4) == tf.strings.substr(data, 6, 4))

    return tf.cond(frame > 0, fills, lambda: tf.constant(False)) & (tf.strings.substr(data, -1, 1) == b";")


def with_white(data: Any) -> tf.Tensor:
    """The GIF with the colour of its first frame's transparent pixels set to white, and no longer transparent."""
    frame, control = first_frame(data)

    def changed() -> tf.Tensor:
        local = _byte(data, frame + 9)
        table = tf.where(local >= 0x80, frame + 10, 13)
        flags = tf.where(local >= 0x80, local, _byte(data, 10))
        colour = _byte(data, control + 3)
        opaque = replace_bytes(data, control, b"\0")
        in_table = (flags >= 0x80) & (colour < 2 ** ((flags & 7) + 1))
        return tf.cond(in_table, lambda: replace_bytes(opaque, table + 3 * colour, b"\xff\xff\xff"), lambda: opaque)

    transparent = tf.cond(
        (frame > 0) & (control > 0), lambda: _byte(data, control) & 1 == 1, lambda: tf.constant(False)
    )
    return tf.cond(transparent, changed, lambda: tf.identity(data))


def _byte(data: Any, offset: Any) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(tf.strings.substr(data, offset, 1), tf.uint8)[0], tf.int32)
