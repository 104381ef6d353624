"""What was found -> OUT/index.html: true boxes and best proposals drawn on the pictures, in one file."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itembed_tf.files import write_atomically
from itembed_tf.localisation.regions import Regions
from itembed_tf.localisation.search import RIGHT, Found
from itembed_tf.report.pictures import thumbnail
from itembed_tf.report.template import render

CARDS, DRAWN = 24, 3  # phrases of a part of the page, proposals drawn of each
LONGEST = 200  # characters of a phrase


def write_page(
    folder: str | Path,
    figures: Mapping[str, Any],
    found: Sequence[Found],
    regions: Regions,
    *,
    title: str,
    split: str,
    attribution: str,
) -> Path:
    """Write `folder`/index.html about the phrases of one split.

    Args:
        folder: where it goes.
        figures: of `search.table`.
        found: of `search.search`; as many as a page bears are drawn by lot, always the same.
        regions: what was searched.
        title: name of the data.
        split: which it is.
        attribution: licence line that must stand where the pictures are shown; "" for none.
    """
    parts = (
        ("Found first", "Phrases whose nearest proposal is right, drawn by lot.", lambda each: each.rank == 1),
        (
            "Found later",
            "A right proposal is among the ten nearest, but not first: the three nearest and the right one.",
            lambda each: 1 < each.rank <= len(each.best),
        ),
        (
            "Not found",
            "None of the ten nearest proposals is right; the three nearest.",
            lambda each: not 0 < each.rank <= len(each.best),
        ),
    )
    text = render(
        Path(__file__).parent,
        title=title,
        kind="phrase localisation",
        split=split,
        figures=figures,
        pictures=len({each.asked.picture for each in found}),
        parts=[(head, note, _cards([each for each in found if of(each)], regions)) for head, note, of in parts],
        attribution=attribution,
    )
    return write_atomically(Path(folder) / "index.html", text)


def _cards(found: Sequence[Found], regions: Regions) -> list[dict[str, Any]]:
    chosen = random.Random(0).sample(list(found), min(CARDS, len(found)))
    return [_card(each, regions) for each in chosen]


def _card(each: Found, regions: Regions) -> dict[str, Any]:
    picture = regions.pictures[each.asked.picture]
    places = list(range(min(1 if each.rank == 1 else DRAWN, len(each.best))))
    if 0 < each.rank <= len(each.best) and each.rank - 1 not in places:
        places.append(each.rank - 1)
    boxes = [_box(regions.boxes[each.asked.row], "truth", 0, picture.width, picture.height)]
    for place in reversed(places):  # the nearest lies on top
        kind = "right" if each.overlap[place] >= RIGHT else "wrong"
        boxes.append(_box(regions.boxes[each.best[place]], kind, place + 1, picture.width, picture.height))
    text = each.asked.text
    if not each.right:
        said = f"no proposal of {each.proposals} is right"
    elif each.rank == 1:
        said = f"overlap {each.overlap[0]:.2f}"
    else:
        said = f"first right at place {each.rank} of {each.proposals}"
    return {
        "picture": thumbnail(picture.image, Path(picture.image).name),
        "width": picture.width,
        "height": picture.height,
        "boxes": boxes,
        "phrase": text if len(text) <= LONGEST else f"{text[:LONGEST]}…",
        "types": ", ".join(each.asked.types),
        "said": said,
    }


def _box(sides: Any, kind: str, place: int, width: int, height: int) -> dict[str, Any]:
    left, top, right, bottom = map(int, sides)
    return {
        "kind": kind,
        "place": place,
        "x": left,
        "y": top,
        "width": right - left + 1,
        "height": bottom - top + 1,
        "left": round(100 * left / width, 2),
        "top": round(100 * top / height, 2),
    }
