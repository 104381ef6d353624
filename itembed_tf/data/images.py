"""Image decoding, resizing and augmentation: the whole image for evaluation and serving, a random crop for training.

Every function takes a scalar string tensor and uses TensorFlow's own ops, so that it runs in tf.data and in an exported
encoder. All share one decoder (`itembed_tf.data.decoding`), and one resize, bilinear with antialiasing, which stays
within 0..255.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from itembed_tf.config.choices import FITS
from itembed_tf.data.decoding import decode_image


def load_image(data: Any, *, size: int, fit: str) -> tf.Tensor:
    """Decode and resize a whole image: float32 [size, size, 3], 0..255.

    Args:
        data: scalar string tensor, the bytes of a JPEG, PNG, WebP, GIF (first frame) or BMP (docs/image_formats.md).
        size: height and width of the result in pixels.
        fit: "stretch" to a square, or "crop" to the central square first.

    Raises:
        ValueError: another `fit`.
        tf.errors.InvalidArgumentError: not a complete image.
    """
    if fit not in FITS:
        raise ValueError(f"image.fit is {fit!r}; it must be {' or '.join(FITS)}")
    pixels = decode_image(data, size)
    if fit == "crop":
        height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
        side = tf.minimum(height, width)
        pixels = tf.slice(pixels, [(height - side) // 2, (width - side) // 2, 0], [side, side, 3])
    return _resize(pixels, size)


def augment_image(
    data: Any, seed: Any, *, size: int, crop_area: tuple[float, ...], crop_aspect: tuple[float, ...], flip: bool
) -> tf.Tensor:
    """Decode an image and take a random crop, resized and possibly flipped: float32 [size, size, 3], 0..255.

    The crop is the largest rectangle of a random aspect ratio, scaled to a random area, at a random position (as in the
    released code, which resizes with bicubic interpolation). Deterministic given the seed.

    Args:
        data: scalar string tensor, as for ``load_image``.
        seed: int32 [2].
        size: height and width of the result in pixels.
        crop_area: minimum and maximum area, relative to that of the largest rectangle; uniform.
        crop_aspect: minimum and maximum width over height; log-uniform.
        flip: mirror half of the images horizontally.

    Raises:
        ValueError: an invalid range.
        tf.errors.InvalidArgumentError: not a complete image.
    """
    if len(crop_area) != 2 or not 0 < crop_area[0] <= crop_area[1] <= 1:
        raise ValueError(
            f"augmentation.crop_area is {crop_area}; it must be minimum and maximum, 0 < minimum <= maximum <= 1, "
            "such as [0.64, 1.0]"
        )
    if len(crop_aspect) != 2 or not 0 < crop_aspect[0] <= crop_aspect[1]:
        raise ValueError(
            f"augmentation.crop_aspect is {crop_aspect}; it must be minimum and maximum, 0 < minimum <= maximum, such "
            "as [0.75, 1.3333]"
        )
    # An explicit algorithm: "auto" depends on the device, and a continued run would get other crops.
    draws = tf.random.stateless_uniform([5], seed, alg="philox")
    pixels = decode_image(data, size)
    top, left, height, width = _crop_window(tf.shape(pixels), draws, crop_area, crop_aspect)
    pixels = _resize(tf.slice(pixels, [top, left, 0], [height, width, 3]), size)
    return tf.cond(draws[4] < 0.5, lambda: tf.reverse(pixels, [1]), lambda: pixels) if flip else pixels


def load_crops(data: Any, boxes: Any, *, size: int) -> tf.Tensor:
    """Decode an image and resize crops of it to squares: float32 [n, size, size, 3], 0..255.

    Args:
        data: scalar string tensor, as for ``load_image``.
        boxes: int32 [n, 4], left, top, right and bottom in pixels, right and bottom inclusive.
        size: height and width of the results in pixels.

    Raises:
        tf.errors.InvalidArgumentError: not a complete image, or a box outside it.
    """
    pixels = decode_image(data, 1 << 24)  # full scale: boxes are in pixels of the original

    def crop(box: tf.Tensor) -> tf.Tensor:
        left, top, right, bottom = tf.unstack(box, num=4)
        return _resize(tf.slice(pixels, [top, left, 0], [bottom - top + 1, right - left + 1, 3]), size)

    return tf.map_fn(crop, boxes, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))


def shrink_image(data: Any, *, short_side: int, quality: int) -> tf.Tensor:
    """Shrink an image file to a JPEG whose short side has at most `short_side` pixels; the aspect ratio is kept.

    A JPEG that is small enough is returned unchanged.

    Args:
        data: scalar string tensor, as for ``load_image``.
        short_side: maximum length of the short side in pixels.
        quality: JPEG quality, 1 to 100.

    Raises:
        tf.errors.InvalidArgumentError: not a complete image.
    """
    pixels = decode_image(data, short_side)
    shape = tf.cast(tf.shape(pixels)[:2], tf.float32)
    scale = tf.minimum(1.0, short_side / tf.reduce_min(shape))
    small = tf.cast(tf.round(scale * shape), tf.int32)

    def encoded() -> tf.Tensor:
        resized = tf.image.resize(pixels, small, method="bilinear", antialias=True)
        whole = tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)
        return tf.io.encode_jpeg(whole, quality=quality, chroma_downsampling=False)

    is_jpeg = tf.strings.substr(data, 0, 3) == b"\xff\xd8\xff"
    return tf.cond(tf.logical_and(is_jpeg, scale == 1.0), lambda: tf.identity(data), encoded)


def _crop_window(
    shape: tf.Tensor, draws: tf.Tensor, crop_area: tuple[float, ...], crop_aspect: tuple[float, ...]
) -> tuple[tf.Tensor, ...]:
    """Top, left, height and width (int32) of a random crop, from four uniform draws."""
    height, width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    low, high = tf.math.log(crop_aspect[0]), tf.math.log(crop_aspect[1])
    aspect = tf.exp(low + draws[0] * (high - low))
    scale = tf.sqrt(crop_area[0] + draws[1] * (crop_area[1] - crop_area[0]))
    crop_height = tf.clip_by_value(tf.round(scale * tf.minimum(height, width / aspect)), 1.0, height)
    crop_width = tf.clip_by_value(tf.round(scale * tf.minimum(width, height * aspect)), 1.0, width)
    top = tf.minimum(tf.floor(draws[2] * (height - crop_height + 1)), height - crop_height)
    left = tf.minimum(tf.floor(draws[3] * (width - crop_width + 1)), width - crop_width)
    return tuple(tf.cast(value, tf.int32) for value in (top, left, crop_height, crop_width))


def _resize(pixels: tf.Tensor, size: int) -> tf.Tensor:
    return tf.image.resize(pixels, [size, size], method="bilinear", antialias=True)
