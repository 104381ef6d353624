"""What decoding needs to know of an image file first: EXIF orientation and transparency, read inside a graph.

Every function takes a scalar string tensor. Size and cost are read in Python, by `itembed_tf.data.image_headers`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_EXIF_BYTES, _SEGMENTS, _CHUNKS = 1 << 17, 64, 4096  # that are searched for EXIF data
_EXIF = b"Exif\0\0"


def jpeg_exif(data: Any) -> tf.Tensor:
    """Position of the EXIF data of a JPEG, int32; 0 if there is none."""
    raw = _bytes(data, 0, _EXIF_BYTES)

    def is_metadata(offset: tf.Tensor, is_exif: tf.Tensor) -> tf.Tensor:
        """Segments APP0 to APP15 and comments: EXIF data is one of these, before the tables of the image."""
        marker = _at(raw, offset + tf.range(2))
        metadata = (marker[1] >= 0xE0) & (marker[1] <= 0xEF) | (marker[1] == 0xFE)
        return ~is_exif & metadata & (marker[0] == 0xFF) & (offset + 10 < tf.size(raw))

    def next_segment(offset: tf.Tensor, is_exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        head = _at(raw, offset + tf.range(10))
        is_exif = (head[1] == 0xE1) & tf.reduce_all(head[4:] == list(_EXIF))
        return offset + tf.where(is_exif, 4, 2 + 256 * head[2] + head[3]), is_exif

    start = (tf.constant(2), tf.constant(False))
    exif, is_exif = tf.while_loop(is_metadata, next_segment, start, maximum_iterations=_SEGMENTS)
    return tf.where(is_exif, exif, 0)


def png_metadata(data: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether a PNG has transparency, bool, and the position of its EXIF data (eXIf), int32; 0 if there is none."""
    size = tf.strings.length(data)

    def is_chunk(offset: tf.Tensor, transparent: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        return (offset >= 8) & (offset + 12 <= size)

    def next_chunk(offset: tf.Tensor, transparent: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, ...]:
        length = _int(data, offset, little=False)
        kind = tf.strings.substr(data, offset + 4, 4)
        return (
            offset + 12 + tf.where(length < 0, size, length),  # negative: above 2 GB, which is invalid
            transparent | (kind == b"tRNS"),
            tf.where(kind == b"eXIf", offset + 8, exif),
        )

    header = tf.strings.join([tf.strings.substr(data, 0, 26), b"\0" * 26])  # any position beyond the end is an error
    with_alpha = _bytes(header, 25, 1)[0] >= 4  # colour types 4 and 6
    start = (tf.constant(8), with_alpha, tf.constant(0))
    _, transparent, exif = tf.while_loop(is_chunk, next_chunk, start, maximum_iterations=_CHUNKS)
    return transparent, exif


def webp_metadata(data: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether a WebP has transparency or frames, bool, as libwebp sees it, and the position of its EXIF data, or 0."""
    size = tf.strings.length(data)

    def is_chunk(offset: tf.Tensor, transparent: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        return (offset >= 12) & (offset + 13 <= size)

    def next_chunk(offset: tf.Tensor, transparent: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, ...]:
        length = _int(data, offset + 4, little=True)
        length += length % 2  # padded to an even length
        kind = tf.strings.substr(data, offset, 4)
        first = tf.cast(_bytes(data, offset + 8, 5), tf.int32)  # of the chunk's content
        transparent = tf.where(kind == b"VP8X", first[0] & 0x12 != 0, transparent | (kind == b"ALPH"))
        transparent = tf.where(kind == b"VP8L", first[4] & 0x10 != 0, transparent)
        return (
            offset + 8 + tf.where(length < 0, size, length),
            transparent,
            tf.where(kind == b"EXIF", offset + 8, exif),
        )

    start = (tf.constant(12), tf.constant(False), tf.constant(0))
    _, transparent, exif = tf.while_loop(is_chunk, next_chunk, start, maximum_iterations=_CHUNKS)
    return transparent, exif


def exif_orientation(data: Any, exif: tf.Tensor) -> tf.Tensor:
    """Orientation of the EXIF data at a position, int32: 1 (upright) to 8; 1 for an invalid one, or if that is 0."""

    def read() -> tf.Tensor:
        raw = _bytes(data, exif, _EXIF_BYTES)  # a chunk may begin as in a JPEG
        return _tiff_orientation(raw, tf.where(tf.reduce_all(_at(raw, tf.range(6)) == list(_EXIF)), 6, 0))

    return tf.cond(exif > 0, read, lambda: tf.constant(1))


def replace_bytes(data: Any, start: Any, new: Any) -> tf.Tensor:
    """The string with the bytes from a position on replaced by as many others."""
    rest = tf.strings.substr(data, start + tf.strings.length(new), tf.strings.length(data))
    return tf.strings.join([tf.strings.substr(data, 0, start), new, rest])


def _tiff_orientation(raw: tf.Tensor, tiff: tf.Tensor) -> tf.Tensor:
    """The orientation in the first directory of the TIFF header at position `tiff` (CIPA DC-008-2023, 4.6.5)."""
    little = tf.reduce_all(_at(raw, tiff + tf.range(2)) == list(b"II"))

    def short(offsets: tf.Tensor) -> tf.Tensor:
        first, second = _at(raw, offsets), _at(raw, offsets + 1)
        return tf.where(little, first + 256 * second, 256 * first + second)

    # The directory's offset has four bytes; in a segment of at most 64 KB the upper two are 0.
    directory = tiff + short(tiff + tf.where(little, 4, 6))
    entries = directory + 2 + 12 * tf.range(short(directory))
    is_orientation = (short(entries) == 0x0112) & (short(entries + 2) == 3) & (entries + 12 <= tf.size(raw))
    value = tf.reduce_max(tf.where(is_orientation, short(entries + 8), 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _at(raw: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.gather(raw, tf.clip_by_value(offsets, 0, tf.size(raw) - 1)), tf.int32)


def _bytes(data: Any, start: Any, length: int) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(data, start, length), tf.uint8)


def _int(data: Any, start: tf.Tensor, *, little: bool) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(data, start, 4), tf.int32, little_endian=little)[0]
