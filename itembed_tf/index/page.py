"""The hits of one query as an HTML page: one self-contained file, which makes no request."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from itembed_tf.index.records import Answer, Hit
from itembed_tf.index.searcher import Searcher
from itembed_tf.report.template import render


@dataclass(frozen=True)
class Tile:
    """A hit as the page shows it.

    Attributes:
        image: data URI of the thumbnail; "" for none.
        link: of the file; "" where the place is none.
    """

    hit: Hit
    image: Markup
    link: str


def results_page(searcher: Searcher, answer: Answer, title: str) -> str:
    """The page; `title` is the query as the user wrote it."""
    tiles = [Tile(hit, _data_uri(searcher.thumbnail(hit.item.id)), _link(hit.item.place)) for hit in answer.hits]
    return render(
        Path(__file__).parent, title=title, kind="search", answer=answer, tiles=tiles, index=searcher.folder.name
    )


def _data_uri(image: bytes | None) -> Markup:
    if image is None:
        return Markup("")
    form = "webp" if image[8:12] == b"WEBP" else "jpeg"
    return Markup(f"data:image/{form};base64,{base64.b64encode(image).decode('ascii')}")


def _link(place: str) -> str:
    path = Path(place)
    return path.as_uri() if path.is_absolute() and path.is_file() else ""
