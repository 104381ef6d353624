"""Thumbnails of all image kinds, and of files that cannot be shown."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from itembed_tf.report.thumbnails import SIDE, thumbnail
from tests.support.images import image_bytes


@pytest.mark.parametrize(
    ("form", "mode"),
    [("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("GIF", "P"), ("PNG", "I;16"), ("PNG", "1")],
)
def test_thumbnails_of_all_kinds(form: str, mode: str) -> None:
    data = image_bytes(20, form, "RGB" if mode == "I;16" else mode, (900, 300))
    if mode == "I;16":
        buffer = io.BytesIO()
        Image.fromarray(np.full((300, 900), 128 * 256, np.uint16)).save(buffer, form)
        data = buffer.getvalue()
    small = thumbnail(data, "a")
    assert small.uri.startswith("data:image/") and small.aspect == pytest.approx(3, rel=0.05), small.reason
    assert len(small.uri) < 20_000


def test_transparency_becomes_white_and_huge_images_are_rejected() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(buffer, "PNG")
    small = Image.open(io.BytesIO(base64.b64decode(thumbnail(buffer.getvalue(), "a").uri.split(",")[1])))
    assert min(small.convert("RGB").getpixel((10, 10))) > 250 and max(small.size) <= SIDE
    buffer = io.BytesIO()
    Image.new("1", (9000, 8000)).save(buffer, "PNG")
    assert "9,000 x 8,000 = 72,000,000 pixels; the maximum is 64,000,000" in thumbnail(buffer.getvalue(), "a").reason
    huge = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(huge, "PNG")
    assert thumbnail(huge.getvalue(), "a").uri == ""


def test_a_thumbnail_has_the_orientation_that_the_encoder_sees() -> None:
    exif, image = Image.Exif(), Image.new("RGB", (90, 30), "red")
    exif[0x0112] = 6
    for form, aspect in (("JPEG", 1 / 3), ("PNG", 1 / 3), ("WEBP", 1 / 3)):
        buffer = io.BytesIO()
        image.save(buffer, form, exif=exif)
        assert thumbnail(buffer.getvalue(), "a").aspect == pytest.approx(aspect)
