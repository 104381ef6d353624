"""Image files made ready for the graph: checked by their header, and decoded by Pillow where TensorFlow misreads them.

What the graph decodes rightly (`itembed_tf.data.images`) passes unchanged: JPEG, PNG, WebP, and BMP of 24 bits. HEIC,
AVIF, GIF and all other BMP are decoded here, on white and upright, and passed on as BMP of 24 bits,
which loses nothing and costs little. Only the decoder of the format that the header names is called.
"""

from __future__ import annotations

import io
import struct
from functools import cache

from PIL import Image, ImageOps, features

from itembed_tf.config import Config
from itembed_tf.data.image_headers import ImageError, ImageHeader, check_cost, read_header
from itembed_tf.extras import MissingExtra, require

_BAND = 1 << 18  # pixels that are put on white at a time
_PILLOW_NAMES = {"HEIC": "HEIF", "WebP": "WEBP"}


def prepare_image(data: bytes, *, max_pixels: int = Config.max_pixels) -> bytes:
    """An image file that the graph decodes: the same bytes, or a BMP of the same pixels on white.

    Args:
        data: an image file.
        max_pixels: maximum of pixels, by the header; JPEG scans beyond the usual ten count as pixels.

    Raises:
        ImageError: not an image, one of a format that is not read, above max_pixels, or damaged; of JPEG, PNG and WebP
            only the header is checked.
    """
    header = read_header(data)
    check_cost(header, max_pixels)
    if header.format != "GIF" and not header.only_pillow:
        return data
    try:
        with open_image(data, header) as image:
            return _to_bmp(image)
    except ImageError:
        raise
    except Exception:  # decoders raise almost any exception for a damaged file
        raise ImageError(damage(data, header)) from None


def open_image(data: bytes, header: ImageHeader) -> Image.Image:
    """Open an image with Pillow's decoder of the header's format. Nothing is decoded yet.

    Raises:
        ImageError: a decoder is missing, or finds another size than the header has.
        Exception: almost any, for a damaged file.
    """
    if header.format == "HEIC":
        _register_heif()
    elif header.format == "AVIF" and not features.check("avif"):
        raise ImageError("an AVIF image, which this build of Pillow cannot read; run: pip install --upgrade pillow")
    name = _PILLOW_NAMES.get(header.format, header.format)
    image = Image.open(io.BytesIO(data), formats=[name])
    if image.width * image.height > header.cost:
        image.close()
        raise ImageError(f"a damaged {header.format} image: its parts have different sizes")
    return image


@cache
def _register_heif() -> None:
    try:
        require("HEIC images")
    except MissingExtra as error:
        raise ImageError(f"a HEIC image; {error}") from None
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)


def on_white(image: Image.Image) -> Image.Image:
    """An opened image as RGB, upright by its EXIF orientation, transparency on white."""
    ImageOps.exif_transpose(image, in_place=True)
    return _blended(image)


def _to_bmp(image: Image.Image) -> bytes:
    """The image upright and on white as a BMP of 24 bits, made a band of rows at a time, to save memory."""
    ImageOps.exif_transpose(image, in_place=True)
    (width, height), stride = image.size, -(-3 * image.width // 4) * 4
    out = io.BytesIO()
    out.write(struct.pack("<2sIIIIiiHHIIIIII", b"BM", 54 + stride * height, 0, 54, 40, width, -height, 1, 24, *[0] * 6))
    rows = _BAND // width + 1
    for top in range(0, height, rows):
        band = _blended(image.crop((0, top, width, min(top + rows, height))))
        out.write(band.tobytes("raw", "BGR", stride, 1))
    return out.getvalue()


def _blended(image: Image.Image) -> Image.Image:
    """An image as RGB, transparency on white."""
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if image.mode.startswith("I;16"):  # convert() would clip sixteen bits to eight; this keeps the upper ones
        image = image.point(lambda value: value / 256).convert("L")
    if not transparent:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    background = Image.new("RGB", image.size, "white")
    background.paste(image, mask=image.getchannel("A"))
    return background


def damage(data: bytes, header: ImageHeader) -> str:
    """What is wrong with an image file that has a valid header and cannot be decoded."""
    end = {"JPEG": b"\xff\xd9", "PNG": b"IEND", "GIF": b";"}.get(header.format, b"")
    declared = int.from_bytes(data[4:8], "little") + 8 if header.format == "WebP" else 0
    declared = int.from_bytes(data[2:6], "little") if header.format == "BMP" else declared
    truncated = end not in data[-64:] or len(data) < declared
    what = "truncated" if truncated else "damaged"
    return f"a {what} {header.format} image: it is not complete" if truncated else f"a {what} {header.format} image"
