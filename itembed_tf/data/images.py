"""Image decoding, resizing and augmentation: the whole image for evaluation and serving, a random crop for training.

Every function takes a scalar string tensor and uses TensorFlow's own ops, so that it runs in tf.data and in an exported
encoder. All share one decoder and one resize (bilinear with antialiasing, which stays within 0..255). Images are turned
upright by their EXIF orientation, as in viewers and browsers, and transparency becomes white. What TensorFlow would
misread is refused; outside an exported encoder, `itembed_tf.data.pillow_images` has decoded it before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from itembed_tf.config.choices import FITS
from itembed_tf.data.gif_frame import with_white
from itembed_tf.data.graph_formats import refusal
from itembed_tf.data.image_metadata import jpeg_orientation, png_metadata, replace_bytes, webp_metadata
from itembed_tf.data.transparency import on_white

Blend: TypeAlias = Callable[[tf.Tensor], tf.Tensor]  # uint8 [H, W, 4] to uint8 [H, W, 3]


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
    pixels = _decode(data, size)
    if fit == "crop":
        height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
        side = tf.minimum(height, width)
        pixels = tf.slice(pixels, [(height - side) // 2, (width - side) // 2, 0], [side, side, 3])
    return _resize(pixels, size)


def check_image(data: Any) -> tf.Tensor:
    """Decode an image and give one of its pixels, uint8 [3]; it fails for the images for which `load_image` does.

    Transparency, orientation and size are left as they are, because TensorFlow keeps the memory of what it computes.

    Args:
        data: scalar string tensor, as for ``load_image``.

    Raises:
        tf.errors.InvalidArgumentError: not a complete image.
    """
    pixels, _ = _decode_as_stored(tf.convert_to_tensor(data, tf.string), 32, lambda pixels: pixels[:1, :1, :3])
    return pixels[0, 0]


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
    pixels = _decode(data, size)
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
    pixels = _decode(data, 1 << 24)  # full scale: boxes are in pixels of the original

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
    pixels = _decode(data, short_side)
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


def _decode(data: Any, size: int) -> tf.Tensor:
    """Decode an image, uint8 [H, W, 3]. Large JPEGs are scaled down; their short side stays at least twice `size`."""
    pixels, orientation = _decode_as_stored(tf.convert_to_tensor(data, tf.string), size, on_white)
    pixels = tf.cond(orientation > 1, lambda: _apply_orientation(pixels, orientation), lambda: pixels)
    return tf.ensure_shape(pixels, [None, None, 3])


def _decode_as_stored(data: tf.Tensor, size: int, blend: Blend) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels of an image, uint8 [H, W, 3], and the EXIF orientation that they have yet to be turned by."""
    head = tf.strings.substr(data, 0, 4)
    pixels, orientation = tf.cond(
        tf.strings.substr(head, 0, 3) == b"\xff\xd8\xff",
        lambda: (_decode_jpeg(data, size), jpeg_orientation(data)),
        lambda: tf.cond(
            head == b"\x89PNG",
            lambda: _decode_png(data, blend),
            lambda: tf.cond(head == b"RIFF", lambda: _decode_webp(data, blend), lambda: (_decode_gif_or_bmp(data), 1)),
        ),
    )
    return pixels, orientation


def _decode_jpeg(data: tf.Tensor, size: int) -> tf.Tensor:
    """Decode a JPEG, at 1/2, 1/4 or 1/8 of its size if large, which is faster."""
    short = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2])
    halvings = tf.reduce_sum(tf.cast(short >= tf.constant([4, 8, 16]) * size, tf.int32))

    def decoder(ratio: int) -> Any:
        return lambda: tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(halvings, [decoder(ratio) for ratio in (1, 2, 4, 8)])


def _decode_png(data: tf.Tensor, blend: Blend) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a PNG, with transparency blended; also its orientation.

    Without transparency, four channels would be wrong below 8 bits.
    """
    transparent, orientation = png_metadata(data)
    pixels = tf.cond(
        transparent,
        lambda: blend(tf.io.decode_png(data, channels=4)),
        lambda: tf.io.decode_png(data, channels=3),
    )
    return pixels, orientation


def _decode_webp(data: tf.Tensor, blend: Blend) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a WebP, with transparency blended, of an animated one the first frame; also its orientation.

    TensorFlow decodes as many channels as the header says, or none; an animated WebP only with transparency.
    """
    transparent, orientation = webp_metadata(data)

    def with_alpha() -> tf.Tensor:
        kind, flags = tf.strings.substr(data, 12, 4), tf.io.decode_raw(tf.strings.substr(data, 20, 1), tf.uint8)
        animated = (kind == b"VP8X") & (flags[0] & 2 == 2)
        flagged = tf.cond(animated, lambda: replace_bytes(data, 20, b"\x12"), lambda: tf.identity(data))
        return blend(tf.io.decode_image(flagged, channels=4, expand_animations=False))

    pixels = tf.cond(
        transparent,
        with_alpha,
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return pixels, orientation


def _decode_gif_or_bmp(data: tf.Tensor) -> tf.Tensor:
    """Decode the kinds of GIF and BMP that TensorFlow decodes rightly, and refuse the others."""
    reason = refusal(data)
    with tf.control_dependencies([tf.debugging.Assert(reason == b"", [reason])]):
        data = tf.cond(tf.strings.substr(data, 0, 4) == b"GIF8", lambda: with_white(data), lambda: tf.identity(data))
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _apply_orientation(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Transpose orientations 5 to 8; then flip 3, 4, 7 and 8 vertically, and 2, 3, 6 and 7 horizontally."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    vertical, horizontal = (tf.reduce_any(orientation == values) for values in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return tf.raw_ops.Reverse(tensor=pixels, dims=tf.stack([vertical, horizontal, False]))


def _resize(pixels: tf.Tensor, size: int) -> tf.Tensor:
    return tf.image.resize(pixels, [size, size], method="bilinear", antialias=True)
