"""Small image files for tests."""

from __future__ import annotations

import io

from PIL import Image


def image_bytes(colour: int, form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> bytes:
    """An image file of one colour, which depends on the number `colour`."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour * 5 % 256, colour * 11 % 256, 90)).convert(mode).save(buffer, form)
    return buffer.getvalue()
