"""Image files decoded inside a graph: uint8 pixels, upright, on white.

Images are turned upright by their EXIF orientation, as in viewers and browsers, and transparency becomes white. What
TensorFlow would misread is refused; outside an exported encoder, `itembed_tf.data.pillow_images` has decoded it before.

Tracing the decoder takes most of a second. It is one `tf.function`, traced once in a process, that exported encoders
and pipelines call; what differs between them is a tensor. Where the files of a pipeline have fewer formats
(`only_formats`), its decoder is smaller: TensorFlow sets it up anew in every epoch, in 0.6 s of CPU time for all
formats and in 0.2 s for JPEG.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import tensorflow as tf

from itembed_tf.data.gif_frame import with_white
from itembed_tf.data.graph_formats import refusal
from itembed_tf.data.image_metadata import exif_orientation, jpeg_exif, png_metadata, replace_bytes, webp_metadata
from itembed_tf.data.transparency import on_white

FORMATS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG", "WebP": b"RIFF", "other": b""}  # and their first bytes
ALL = frozenset(FORMATS)
_formats: ContextVar[frozenset[str]] = ContextVar("formats", default=ALL)


def format_of(head: bytes) -> str:
    """One of `FORMATS`, by the first four bytes of a file."""
    return next(name for name, start in FORMATS.items() if head.startswith(start))


@contextmanager
def only_formats(formats: frozenset[str]) -> Iterator[None]:
    """Let the graphs that are traced within the block decode files of these formats alone."""
    token = _formats.set(formats)
    try:
        yield
    finally:
        _formats.reset(token)


def decode_image(data: Any, size: int) -> tf.Tensor:
    """Decode an image, uint8 [H, W, 3]. Large JPEGs are scaled down; their short side stays at least twice `size`.

    Args:
        data: scalar string tensor, the bytes of a JPEG, PNG, WebP, GIF (first frame) or BMP (docs/image_formats.md).
        size: pixels of the short side that the caller needs.

    Raises:
        tf.errors.InvalidArgumentError: not a complete image.
    """
    return _decoder(_formats.get())(data, size, True)


def check_image(data: Any) -> tf.Tensor:
    """Decode an image and give one of its pixels, uint8 [3]; it fails for the images for which `decode_image` does.

    Transparency, orientation and size are left as they are, because TensorFlow keeps the memory of what it computes.

    Args:
        data: scalar string tensor, as for ``decode_image``.

    Raises:
        tf.errors.InvalidArgumentError: not a complete image.
    """
    return _decoder(ALL)(data, 32, False)[0, 0]


@cache
def _decoder(formats: frozenset[str]) -> Any:
    """A function from a file, a size and `prepared` to the pixels of an image, uint8 [H, W, 3].

    They are upright and on white if `prepared`, else no more than decoded.
    """

    @tf.function(
        input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.bool)],
        autograph=False,
    )
    def decode(data: tf.Tensor, size: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        pixels, exif = _by_format(data, size, prepared, [name for name in FORMATS if name in formats])
        orientation = exif_orientation(data, exif)
        pixels = tf.cond(prepared & (orientation > 1), lambda: _apply_orientation(pixels, orientation), lambda: pixels)
        return tf.ensure_shape(pixels, [None, None, 3])

    return decode


def _by_format(
    data: tf.Tensor, size: tf.Tensor, prepared: tf.Tensor, formats: list[str]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels of a file of one of some formats, and where its EXIF data is (0: nowhere)."""
    first, *others = formats
    decoders = {
        "JPEG": lambda: (_decode_jpeg(data, size), jpeg_exif(data)),
        "PNG": lambda: _decode_png(data, prepared),
        "WebP": lambda: _decode_webp(data, prepared),
        "other": lambda: (_decode_gif_or_bmp(data), 0),
    }
    if not others:
        return decoders[first]()
    start = FORMATS[first]
    is_first = tf.strings.substr(data, 0, len(start)) == start
    return tf.cond(is_first, decoders[first], lambda: _by_format(data, size, prepared, others))


def _decode_jpeg(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG, at 1/2, 1/4 or 1/8 of its size if large, which is faster."""
    short = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2])
    halvings = tf.reduce_sum(tf.cast(short >= tf.constant([4, 8, 16]) * size, tf.int32))

    def decoder(ratio: int) -> Any:
        return lambda: tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(halvings, [decoder(ratio) for ratio in (1, 2, 4, 8)])


def _decode_png(data: tf.Tensor, prepared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a PNG, with transparency on white; also where its EXIF data is.

    Without transparency, four channels would be wrong below 8 bits.
    """
    transparent, exif = png_metadata(data)
    pixels = tf.cond(
        transparent,
        lambda: _without_alpha(tf.io.decode_png(data, channels=4), prepared),
        lambda: tf.io.decode_png(data, channels=3),
    )
    return pixels, exif


def _decode_webp(data: tf.Tensor, prepared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a WebP, with transparency on white, of an animated one the first frame; also where its EXIF data is.

    TensorFlow decodes as many channels as the header says, or none; an animated WebP only with transparency.
    """
    transparent, exif = webp_metadata(data)

    def with_alpha() -> tf.Tensor:
        kind, flags = tf.strings.substr(data, 12, 4), tf.io.decode_raw(tf.strings.substr(data, 20, 1), tf.uint8)
        animated = (kind == b"VP8X") & (flags[0] & 2 == 2)
        flagged = tf.cond(animated, lambda: replace_bytes(data, 20, b"\x12"), lambda: tf.identity(data))
        return _without_alpha(tf.io.decode_image(flagged, channels=4, expand_animations=False), prepared)

    pixels = tf.cond(
        transparent,
        with_alpha,
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return pixels, exif


def _without_alpha(pixels: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 4] on white; where that is not asked for, the colour of the first pixel alone."""
    return tf.cond(prepared, lambda: on_white(pixels), lambda: pixels[:1, :1, :3])


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
