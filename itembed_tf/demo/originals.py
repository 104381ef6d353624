"""The image file of an item, as a browser can show it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from itembed_tf.data.image_headers import ImageError, ImageHeader, check_cost, read_header
from itembed_tf.data.pillow_images import on_white, open_image
from itembed_tf.errors import UserError
from itembed_tf.index import Item

MAX_BYTES = 256 * 2**20  # of one file that is sent
MAX_PIXELS = 64_000_000  # of one that is decoded
SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WebP": "image/webp", "AVIF": "image/avif"}


class NotShown(UserError):
    """The file of an item cannot be shown; the page shows its thumbnail."""


def original(item: Item) -> tuple[bytes, str]:
    """The image file of an item and its media type; HEIC and BMP as JPEG.

    Raises:
        NotShown: it is no file of its own, is gone, or is another than the one that was indexed.
    """
    file = Path(item.place)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise NotShown(f"{file.name} is larger than {MAX_BYTES >> 20} MB")
        data = file.read_bytes()
    except OSError as error:
        raise NotShown(f"{item.place} cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != item.content:
        raise NotShown(f"{item.place} has changed since it was indexed; run `itembed index` again")
    return shown(data)


def shown(data: bytes) -> tuple[bytes, str]:
    """An image file as a browser shows it, and its media type.

    Raises:
        NotShown: it is no image, or cannot be decoded.
    """
    try:
        header = read_header(data)
        if header.format in SHOWN:
            return data, SHOWN[header.format]
        check_cost(header, MAX_PIXELS, setting="of this page")
        return _as_jpeg(data, header), "image/jpeg"
    except ImageError as error:
        raise NotShown(f"the file is {error}") from None


def _as_jpeg(data: bytes, header: ImageHeader) -> bytes:
    buffer = io.BytesIO()
    try:
        with open_image(data, header) as opened:
            on_white(opened).save(buffer, "JPEG", quality=90)
    except Exception as error:  # decoders raise almost any exception for a damaged file
        raise ImageError(f"a damaged {header.format} image ({error})") from None
    return buffer.getvalue()
