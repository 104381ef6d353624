"""Thumbnails: an image file or its bytes as a small data URI, or the reason why it cannot be shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from itembed_tf.data.readers import ImageSource, read_image
from itembed_tf.data.thumbnails import small_image

SIDE = 192  # pixels; shown at about half the size, so that it is sharp on high-density screens


@dataclass(frozen=True)
class Thumbnail:
    """A data URI with width over height; or an empty URI and the reason."""

    name: str
    uri: str = ""
    reason: str = ""
    aspect: float = 1.0


def thumbnail(image: ImageSource, name: str) -> Thumbnail:
    """Shrink an image to at most SIDE pixels on white, as a data URI. Never raises, so one bad file stops no page.

    It is upright by its EXIF orientation, as in `itembed_tf.data.images`: the page shows what the encoder saw.
    """
    try:
        small = small_image(read_image(image), SIDE, setting="of this page")
        data = base64.b64encode(small.data).decode("ascii")
        return Thumbnail(name, uri=f"data:image/{small.form};base64,{data}", aspect=small.width / small.height)
    except Exception as error:  # decoders raise almost any exception for a broken file
        text = " ".join(str(error).split()) or type(error).__name__
        return Thumbnail(name, reason=text if len(text) < 160 else f"{text[:160]}…")


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
