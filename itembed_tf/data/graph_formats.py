"""Which image files the graph decodes rightly, decided inside the graph, with the reason for all others."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from itembed_tf.data.gif_frame import is_whole
from itembed_tf.data.not_images import HTML, SIGNATURES, SVG, UNKNOWN

_CONVERT = "convert it to PNG or JPEG first"
PARTIAL_GIF = f"a GIF image without its end mark, or whose first frame does not fill it; {_CONVERT}"
OTHER_BMP = f"a BMP image of another kind than 24 bits without compression; {_CONVERT}"
_HEADER = 300  # bytes that the signatures look at
_TABLE = (
    *SIGNATURES,
    *((0, text, HTML) for text in (b"<!DOCTYPE html", b"<!doctype html", b"<!DOCTYPE HTML", b"<html", b"<HTML")),
    *((0, text, SVG) for text in (b"<svg", b"<?xml")),
    (0, b"", UNKNOWN),
)


def refusal(data: Any) -> tf.Tensor:
    """Why the graph does not decode a file, scalar string: what it is and what to do; "" where its decoders try.

    `itembed_tf.data.image_headers` has the same answers in Python, and better ones for what is no image.
    """
    head = tf.strings.join([tf.strings.substr(data, 0, _HEADER), b"\0" * _HEADER])

    def starts(magic: bytes, offset: int = 0) -> tf.Tensor:
        return tf.strings.substr(head, offset, len(magic)) == magic

    def other() -> tf.Tensor:
        offsets, magics, reasons = zip(*_TABLE)
        starts = tf.strings.substr(tf.fill([len(_TABLE)], head), offsets, [len(magic) for magic in magics])
        first = tf.argmax(tf.cast(starts == tf.constant(magics), tf.int32))
        return tf.where(tf.strings.length(data) == 0, "an empty file", tf.constant(reasons)[first])

    def gif() -> tf.Tensor:
        whole = tf.cond(tf.strings.length(data) > 13, lambda: is_whole(data), lambda: tf.constant(False))
        return tf.where(whole, "", PARTIAL_GIF)

    def bmp() -> tf.Tensor:
        plain = starts(b"\x18\0\0\0\0\0", 28) & ~starts(b"\x0c\0\0\0", 14)
        return tf.where(plain, "", OTHER_BMP)

    webp = starts(b"RIFF") & starts(b"WEBP", 8)
    whole = starts(b"\xff\xd8\xff") | starts(b"\x89PNG\r\n\x1a\n") | webp
    kinds = [whole, starts(b"GIF8"), starts(b"BM"), tf.constant(True)]
    kind = tf.argmax(tf.cast(tf.stack(kinds), tf.int32), output_type=tf.int32)  # the first that is true
    return tf.switch_case(kind, [lambda: tf.constant(""), gif, bmp, other])
