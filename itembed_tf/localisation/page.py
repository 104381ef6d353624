"""The localisation page, OUT/index.html: true boxes and nearest proposals drawn on the images, in one file."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itembed_tf.files import write_atomically
from itembed_tf.localisation.regions import Regions
from itembed_tf.localisation.search import MIN_IOU, Localisation
from itembed_tf.report.template import render
from itembed_tf.report.thumbnails import thumbnail

CARDS, DRAWN = 24, 3  # phrases in each section, proposals drawn for each phrase
MAX_CHARACTERS = 200  # of a phrase


def write_localisation_page(
    folder: str | Path,
    figures: Mapping[str, Any],
    found: Sequence[Localisation],
    regions: Regions,
    *,
    title: str,
    split: str,
    attribution: str,
) -> Path:
    """Write `folder`/index.html about the phrases of one split.

    Args:
        folder: output folder.
        figures: metrics, as `search.table` returns them.
        found: results, as `search.search` returns them; a fixed-seed sample of them is shown.
        regions: of the split.
        title: name of the dataset.
        split: its name.
        attribution: licence line to show with the images; "" for none.
    """
    parts = (
        (
            "Correct at rank 1",
            "A random sample of phrases whose nearest proposal is correct.",
            lambda each: each.rank == 1,
        ),
        (
            "Correct at rank 2 to 10",
            "A correct proposal is among the ten nearest, but not first. The three nearest and the correct one.",
            lambda each: 1 < each.rank <= len(each.best),
        ),
        (
            "Not among the ten nearest",
            "None of the ten nearest proposals is correct. The three nearest.",
            lambda each: not 0 < each.rank <= len(each.best),
        ),
    )
    text = render(
        Path(__file__).parent,
        title=title,
        kind="phrase localisation",
        split=split,
        figures=figures,
        images=len({each.phrase.image for each in found}),
        parts=[(head, note, _cards([each for each in found if of(each)], regions)) for head, note, of in parts],
        attribution=attribution,
    )
    return write_atomically(Path(folder) / "index.html", text)


def _cards(found: Sequence[Localisation], regions: Regions) -> list[dict[str, Any]]:
    chosen = random.Random(0).sample(list(found), min(CARDS, len(found)))
    return [_card(each, regions) for each in chosen]


def _card(each: Localisation, regions: Regions) -> dict[str, Any]:
    image = regions.images[each.phrase.image]
    places = list(range(min(1 if each.rank == 1 else DRAWN, len(each.best))))
    if 0 < each.rank <= len(each.best) and each.rank - 1 not in places:
        places.append(each.rank - 1)
    boxes = [_box(regions.boxes[each.phrase.row], "truth", 0, image.width, image.height)]
    for place in reversed(places):  # the nearest is drawn last, on top
        kind = "correct" if each.overlap[place] >= MIN_IOU else "wrong"
        boxes.append(_box(regions.boxes[each.best[place]], kind, place + 1, image.width, image.height))
    text = each.phrase.text
    if not each.correct:
        result = f"none of {each.proposals} proposals is correct"
    elif each.rank == 1:
        result = f"IoU {each.overlap[0]:.2f}"
    else:
        result = f"first correct at rank {each.rank} of {each.proposals}"
    return {
        "image": thumbnail(image.path, Path(image.path).name),
        "width": image.width,
        "height": image.height,
        "boxes": boxes,
        "phrase": text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…",
        "types": ", ".join(each.phrase.types),
        "result": result,
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
