"""Pictures for the page: a file or its bytes -> a small data URI, or the reason why there is none."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps, features

from itembed_tf.data.readers import ImageSource, read_image

SIDE = 192  # pixels; shown at about half of it, so that it stays sharp on dense screens
MOST_PIXELS = 64_000_000  # decoded in memory at once; JPEG shrinks while it decodes and seldom meets this


@dataclass(frozen=True)
class Thumbnail:
    name: str
    uri: str = ""  # empty: it could not be drawn, and `reason` says why
    reason: str = ""
    aspect: float = 1.0  # width over height


def thumbnail(image: ImageSource, name: str) -> Thumbnail:
    """Shrink one picture to at most SIDE pixels, on white, as a data URI. Never raises: a page outlives one bad file.

    A JPEG is turned by its EXIF orientation, as in `itembed_tf.data.images`: the page shows what the encoder saw.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(read_image(image))) as picture:
                picture.draft("RGB", (2 * SIDE, 2 * SIDE))  # JPEG: decode at 1/2, 1/4 or 1/8
                if picture.width * picture.height > MOST_PIXELS:
                    size = f"{picture.width} x {picture.height}"
                    return Thumbnail(name, reason=f"{size} pixels are more than this page decodes")
                small = _on_white(picture)
        buffer = io.BytesIO()
        form = "WEBP" if features.check("webp") else "JPEG"
        small.save(buffer, form, quality=78)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        return Thumbnail(name, uri=f"data:image/{form.lower()};base64,{data}", aspect=small.width / small.height)
    except Exception as error:  # decoders raise almost anything on a broken file
        text = " ".join(str(error).split()) or type(error).__name__
        return Thumbnail(name, reason=text if len(text) < 160 else f"{text[:160]}…")


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.format == "JPEG":
        picture = ImageOps.exif_transpose(picture)
    transparent = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    if picture.mode.startswith("I;16"):  # convert() would clip sixteen bits to eight; this keeps the upper ones
        picture = picture.point(lambda value: value / 256).convert("L")
    picture = picture.convert("RGBA" if transparent else "RGB")
    picture.thumbnail((SIDE, SIDE))
    if not transparent:
        return picture
    paper = Image.new("RGB", picture.size, "white")
    paper.paste(picture, mask=picture.getchannel("A"))
    return paper


@dataclass
class Album:
    """The pictures that a page shows, each read once; `broken` names those that could not be drawn."""

    images: Sequence[ImageSource]
    seen: dict[int, Thumbnail] = field(default_factory=dict)

    def __getitem__(self, index: int) -> Thumbnail:
        if index not in self.seen:
            image = self.images[index]
            name = Path(image).name if isinstance(image, str) else f"picture {index}"
            self.seen[index] = thumbnail(image, name)
        return self.seen[index]

    @property
    def broken(self) -> list[Thumbnail]:
        return [self.seen[index] for index in sorted(self.seen) if not self.seen[index].uri]

    def aspect(self) -> float:
        """The middle shape (width over height) of what was drawn: tiles of this shape waste the least room."""
        shapes = sorted(picture.aspect for picture in self.seen.values() if picture.uri)
        return min(1.5, max(0.75, shapes[len(shapes) // 2])) if shapes else 1.0
