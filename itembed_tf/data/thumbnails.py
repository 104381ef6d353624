"""Thumbnails: an image file as a small WebP or JPEG, upright and on white, as the encoder sees it."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import features

from itembed_tf.data.image_headers import ImageHeader, check_cost, read_header
from itembed_tf.data.pillow_images import on_white, open_image

MAX_PIXELS = 64_000_000  # decoded in memory at once; JPEG is reduced while decoding and rarely reaches this
QUALITY = 78
FAST, SMALL = 0, 4  # effort of WebP: the second takes four times as long and saves some 15 % of the bytes


@dataclass(frozen=True)
class SmallImage:
    """An image file of at most some pixels a side.

    Attributes:
        data: the file.
        form: "webp" or "jpeg".
        width, height: pixels.
    """

    data: bytes
    form: str
    width: int
    height: int


def small_image(
    content: bytes, side: int, *, header: ImageHeader | None = None, effort: int = SMALL, setting: str = "max_pixels"
) -> SmallImage:
    """Shrink an image file to at most `side` pixels a side; a smaller one keeps its size.

    Args:
        content: an image file.
        side: pixels of the longer side.
        header: of the file, where it has been read already.
        effort: of the compression, `FAST` or `SMALL`.
        setting: what the message calls the limit of pixels.

    Raises:
        ImageError: not an image that is read, or too large.
        Exception: almost any, for a damaged file.
    """
    header = header or read_header(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open_image(content, header) as opened:
            scale = side / max(opened.width, opened.height)
            # JPEG: decode at 1/2, 1/4 or 1/8, to no less than the result.
            opened.draft("RGB", (round(scale * opened.width), round(scale * opened.height)))
            if opened.width * opened.height > MAX_PIXELS:
                check_cost(header, MAX_PIXELS, setting=setting)
            small = on_white(opened)
            small.thumbnail((side, side))
    buffer = io.BytesIO()
    form = "WEBP" if features.check("webp") else "JPEG"
    small.save(buffer, form, quality=QUALITY, **({"method": effort} if form == "WEBP" else {}))
    return SmallImage(buffer.getvalue(), form.lower(), small.width, small.height)
