"""File bytes -> pixels: the whole picture for evaluation and serving, a random crop for training.

Every function works on one scalar string tensor with TensorFlow's own ops, so that it runs inside tf.data and inside an
exported encoder alike. Both roads share one decoder and one resize (bilinear with antialiasing, which stays within
0..255). A JPEG is turned upright by its EXIF orientation (CIPA DC-008-2023, 4.6.5), as viewers and browsers show it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_EXIF_WITHIN, _NOTES = 1 << 17, 64  # bytes and segments at a JPEG's head that are looked through for EXIF data


def load_image(data: Any, *, size: int, fit: str) -> tf.Tensor:
    """A JPEG, PNG, GIF (first frame), BMP or WebP, whole -> float32 [size, size, 3], 0..255.

    Args:
        data: scalar string tensor, the file's content. Transparent PNGs are laid on white.
        fit: "stretch" the picture to the square, or "crop" its central square first.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no whole picture.
    """
    if fit not in ("stretch", "crop"):
        raise ValueError(f"image.fit is {fit!r}; choose stretch or crop")
    pixels = _decode(data, size)
    if fit == "crop":
        height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
        side = tf.minimum(height, width)
        pixels = tf.slice(pixels, [(height - side) // 2, (width - side) // 2, 0], [side, side, 3])
    return _resize(pixels, size)


def augment_image(
    data: Any, seed: Any, *, size: int, crop_area: tuple[float, ...], crop_aspect: tuple[float, ...], flip: bool
) -> tf.Tensor:
    """A random part of the picture -> float32 [size, size, 3], 0..255; the same seed gives the same pixels.

    A rectangle of random aspect, as large as fits, is shrunk to a random area, put at a random place and resized (as
    the released code does, there with bicubic interpolation).

    Args:
        data: scalar string tensor, as for ``load_image``.
        seed: int32 [2].
        crop_area: least and most share of that largest rectangle's area, drawn uniformly.
        crop_aspect: least and most width over height, drawn log-uniformly.
        flip: mirror half of the pictures.

    Raises:
        ValueError: ranges that are no ranges.
        tf.errors.InvalidArgumentError: bytes that are no whole picture.
    """
    if len(crop_area) != 2 or not 0 < crop_area[0] <= crop_area[1] <= 1:
        raise ValueError(f"augmentation.crop_area is {crop_area}; give least and most share, such as [0.64, 1.0]")
    if len(crop_aspect) != 2 or not 0 < crop_aspect[0] <= crop_aspect[1]:
        raise ValueError(f"augmentation.crop_aspect is {crop_aspect}; give least and most, such as [0.75, 1.3333]")
    # One named generator: "auto" may choose another on another device, and a continued run would see other crops.
    draws = tf.random.stateless_uniform([5], seed, alg="philox")
    pixels = _decode(data, size)
    top, left, height, width = _crop_window(tf.shape(pixels), draws, crop_area, crop_aspect)
    pixels = _resize(tf.slice(pixels, [top, left, 0], [height, width, 3]), size)
    return tf.cond(draws[4] < 0.5, lambda: tf.reverse(pixels, [1]), lambda: pixels) if flip else pixels


def load_crops(data: Any, boxes: Any, *, size: int) -> tf.Tensor:
    """Parts of a picture, each stretched to a square: float32 [n, size, size, 3], 0..255.

    Args:
        data: scalar string tensor, as for ``load_image``.
        boxes: int32 [n, 4], left, top, right, bottom in its pixels; the last row and column belong to the part.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no whole picture, or a box outside it.
    """
    pixels = _decode(data, 1 << 24)  # at no JPEG's own scale: the boxes count its pixels

    def crop(box: tf.Tensor) -> tf.Tensor:
        left, top, right, bottom = tf.unstack(box, num=4)
        return _resize(tf.slice(pixels, [top, left, 0], [bottom - top + 1, right - left + 1, 3]), size)

    return tf.map_fn(crop, boxes, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))


def shrink_image(data: Any, *, short_side: int, quality: int) -> tf.Tensor:
    """A picture's file -> that of a JPEG whose short side has at most `short_side` pixels, its shape kept.

    A JPEG that is small enough stays as it is, byte for byte.

    Args:
        data: scalar string tensor, as for ``load_image``.
        quality: of the JPEG, 1 to 100.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no whole picture.
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
    """Top, left, height, width (int32) of the crop that four draws from [0, 1) choose."""
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
    """Bytes -> uint8 [H, W, 3]; a large JPEG comes out smaller, its short side still at least twice `size`."""
    data = tf.convert_to_tensor(data, tf.string)
    head = tf.strings.substr(data, 0, 4)
    pixels = tf.cond(
        tf.strings.substr(head, 0, 3) == b"\xff\xd8\xff",
        lambda: _decode_jpeg(data, size),
        lambda: tf.cond(head == b"\x89PNG", lambda: _decode_png(data), lambda: _decode_other(data)),
    )
    return tf.ensure_shape(pixels, [None, None, 3])


def _decode_jpeg(data: tf.Tensor, size: int) -> tf.Tensor:
    """Scales by 1/2, 1/4 or 1/8 inside the decoder, where it saves most of the work; upright."""
    short = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2])
    halvings = tf.reduce_sum(tf.cast(short >= tf.constant([4, 8, 16]) * size, tf.int32))

    def decoder(ratio: int) -> Any:
        return lambda: tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    pixels = tf.switch_case(halvings, [decoder(ratio) for ratio in (1, 2, 4, 8)])
    orientation = jpeg_orientation(data)
    return tf.cond(orientation > 1, lambda: _upright(pixels, orientation), lambda: pixels)


def jpeg_orientation(data: Any) -> tf.Tensor:
    """What the EXIF data of a JPEG say of its orientation: int32, 1 (upright) to 8; 1 where they say nothing valid."""
    raw = tf.io.decode_raw(tf.strings.substr(data, 0, _EXIF_WITHIN), tf.uint8)

    def at(places: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(raw, tf.clip_by_value(places, 0, tf.size(raw) - 1)), tf.int32)

    def is_note(place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        """APP0 to APP15 or a comment: EXIF data stand among these, before the tables of the picture."""
        mark = at(place + tf.range(2))
        note = (mark[1] >= 0xE0) & (mark[1] <= 0xEF) | (mark[1] == 0xFE)
        return ~found & note & (mark[0] == 0xFF) & (place + 10 < tf.size(raw))

    def step(place: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        head = at(place + tf.range(10))
        found = (head[1] == 0xE1) & tf.reduce_all(head[4:] == list(b"Exif\0\0"))
        return place + tf.where(found, 10, 2 + 256 * head[2] + head[3]), found

    tiff, found = tf.while_loop(is_note, step, (tf.constant(2), tf.constant(False)), maximum_iterations=_NOTES)

    def read() -> tf.Tensor:
        little = tf.reduce_all(at(tiff + tf.range(2)) == list(b"II"))

        def short(places: tf.Tensor) -> tf.Tensor:
            first, second = at(places), at(places + 1)
            return tf.where(little, first + 256 * second, 256 * first + second)

        # The directory's place has four bytes; in a segment of at most 64 KB the upper two are 0.
        directory = tiff + short(tiff + tf.where(little, 4, 6))
        entries = directory + 2 + 12 * tf.range(short(directory))
        is_orientation = (short(entries) == 0x0112) & (short(entries + 2) == 3) & (entries + 12 <= tf.size(raw))
        said = tf.reduce_max(tf.where(is_orientation, short(entries + 8), 0))
        return tf.where((said >= 1) & (said <= 8), said, 1)

    return tf.cond(found, read, lambda: tf.constant(1))


def _upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """5 to 8 lie on their side; then 3, 4, 7, 8 stand on their head and 2, 3, 6, 7 are mirrored."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    down, across = (tf.reduce_any(orientation == turned) for turned in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return tf.raw_ops.Reverse(tensor=pixels, dims=tf.stack([down, across, False]))


def _decode_png(data: tf.Tensor) -> tf.Tensor:
    """Lays transparency on white. An opaque picture of 1, 2 or 4 bits comes with an alpha of 1, 3 or 15, not 255."""
    pixels = tf.cast(tf.io.decode_png(data, channels=4), tf.float32)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    bits = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 24, 1), tf.uint8)[0], tf.float32)
    opaque = tf.reduce_all(tf.equal(alpha, tf.pow(2.0, tf.minimum(bits, 8.0)) - 1.0))
    opacity = tf.where(opaque, 1.0, alpha / 255.0)
    return tf.cast(tf.round(colour * opacity + 255.0 * (1.0 - opacity)), tf.uint8)


def _decode_other(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _resize(pixels: tf.Tensor, size: int) -> tf.Tensor:
    return tf.image.resize(pixels, [size, size], method="bilinear", antialias=True)
