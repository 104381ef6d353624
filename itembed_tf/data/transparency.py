"""Transparency of decoded images, put on white inside the graph."""

from __future__ import annotations

import tensorflow as tf

# Pixels that are put on white at a time: all of a small image; of a large one so few that TensorFlow's allocator takes
# small pieces for them, which do not divide the large ones that it keeps for the next image.
_SMALL, _BLOCK = 1 << 20, 1 << 13


def on_white(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 4] on white, uint8 [H, W, 3]; computed a block of rows at a time, to save memory.

    The result is written in place: blocks that are joined at the end would need its memory twice.
    """
    pixels = tf.ensure_shape(pixels, [None, None, 4])
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    is_small = tf.size(pixels, tf.int64) <= 4 * _SMALL
    rows = tf.where(is_small, height, tf.maximum(_BLOCK // width, 1))

    def block(start: tf.Tensor, result: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        part = tf.cast(pixels[start : start + rows], tf.float32)
        opacity = part[..., 3:] / 255.0
        blended = tf.cast(tf.round(part[..., :3] * opacity + 255.0 * (1.0 - opacity)), tf.uint8)
        end = tf.minimum(start + rows, height)
        return end, tf.raw_ops.InplaceUpdate(x=result, i=tf.range(start, end), v=blended)

    start = (tf.constant(0), tf.raw_ops.Empty(shape=[height, width, 3], dtype=tf.uint8))
    _, result = tf.while_loop(lambda start, _: start < height, block, start, parallel_iterations=1)
    return result
