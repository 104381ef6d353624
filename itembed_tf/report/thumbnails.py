"""Thumbnails: an image file or its bytes as a small data URI, or the reason why it cannot be shown."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps, features

from itembed_tf.data.readers import ImageSource, read_image

SIDE = 192  # pixels; shown at about half the size, so that it is sharp on high-density screens
MAX_PIXELS = 64_000_000  # decoded in memory at once; JPEG is reduced while decoding and rarely reaches this


@dataclass(frozen=True)
class Thumbnail:
    """A data URI with width over height; or an empty URI and the reason."""

    name: str
    uri: str = ""
    reason: str = ""
    aspect: float = 1.0


def thumbnail(image: ImageSource, name: str) -> Thumbnail:
    """Shrink an image to at most SIDE pixels on white, as a data URI. Never raises, so one bad file stops no page.

    A JPEG is rotated by its EXIF orientation, as in `itembed_tf.data.images`: the page shows what the encoder saw.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(read_image(image))) as opened:
                opened.draft("RGB", (2 * SIDE, 2 * SIDE))  # JPEG: decode at 1/2, 1/4 or 1/8
                if opened.width * opened.height > MAX_PIXELS:
                    size = f"{opened.width} x {opened.height}"
                    return Thumbnail(name, reason=f"{size} pixels exceed the limit of this page ({MAX_PIXELS:,})")
                small = _on_white(opened)
        buffer = io.BytesIO()
        form = "WEBP" if features.check("webp") else "JPEG"
        small.save(buffer, form, quality=78)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        return Thumbnail(name, uri=f"data:image/{form.lower()};base64,{data}", aspect=small.width / small.height)
    except Exception as error:  # decoders raise almost any exception for a broken file
        text = " ".join(str(error).split()) or type(error).__name__
        return Thumbnail(name, reason=text if len(text) < 160 else f"{text[:160]}…")


def _on_white(image: Image.Image) -> Image.Image:
    if image.format == "JPEG":
        image = ImageOps.exif_transpose(image)
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if image.mode.startswith("I;16"):  # convert() would clip sixteen bits to eight; this keeps the upper ones
        image = image.point(lambda value: value / 256).convert("L")
    image = image.convert("RGBA" if transparent else "RGB")
    image.thumbnail((SIDE, SIDE))
    if not transparent:
        return image
    background = Image.new("RGB", image.size, "white")
    background.paste(image, mask=image.getchannel("A"))
    return background


@dataclass
class Thumbnails:
    """The thumbnails of a page by position in the split, each read once; `unreadable` lists those without a URI."""

    images: Sequence[ImageSource]
    loaded: dict[int, Thumbnail] = field(default_factory=dict)

    def __getitem__(self, index: int) -> Thumbnail:
        if index not in self.loaded:
            image = self.images[index]
            name = Path(image).name if isinstance(image, str) else f"image {index}"
            self.loaded[index] = thumbnail(image, name)
        return self.loaded[index]

    @property
    def unreadable(self) -> list[Thumbnail]:
        return [self.loaded[index] for index in sorted(self.loaded) if not self.loaded[index].uri]

    def aspect(self) -> float:
        """The median aspect ratio: tiles of this shape waste the least space."""
        aspects = sorted(each.aspect for each in self.loaded.values() if each.uri)
        return min(1.5, max(0.75, aspects[len(aspects) // 2])) if aspects else 1.0
