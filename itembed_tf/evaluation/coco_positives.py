"""The published right answers on COCO's 5,000 test pictures (Karpathy's split): the original, CxC's and ECCV Caption's.

They are read from the data files of the package eccv-caption (MIT; CxC within it Apache 2.0), which is not imported.
Ids are COCO's own, of pictures and of captions. What the files hold, counted in version 0.1.0:

========  ==============  ==============  =====================================================================
name      picture asks    caption asks    right answers
========  ==============  ==============  =====================================================================
original  5,000           25,000          the picture's first five captions; 25,000 both ways
cxc       5,000           24,972          35,585 both ways; the own caption or picture is not always among them
eccv      1,261           1,332           22,550 captions and 11,279 pictures (its README has the queries swapped)
========  ==============  ==============  =====================================================================

Two captions that ECCV Caption calls right are not among the 25,000. They count as right ones that nobody finds, as in
the package's own figures.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Answers = dict[int, list[int]]
NAMES = ("original", "cxc", "eccv")


def captions_in_order() -> NDArray[np.int64]:
    """Ids of the 25,000 captions in the published order, five a picture; each 5,000 are a fold of COCO 1K."""
    return np.load(_folder() / "coco_test_ids.npy", allow_pickle=False)


@cache
def pictures_of_captions() -> dict[int, int]:
    """The picture that each of the 25,000 captions was written for."""
    return {caption: pictures[0] for caption, pictures in right_answers("original")[1].items()}


def right_answers(name: str, folder: str | Path | None = None) -> tuple[Answers, Answers]:
    """The right captions of each picture that asks, and the right pictures of each caption that asks.

    Args:
        name: one of `NAMES`; or "pm", the plausible matches of PMRP, which the package does not bring.
        folder: where `<name>_image_to_caption.json` and `<name>_caption_to_image.json` lie; None: in the package.

    Raises:
        ModuleNotFoundError: the package is not installed.
        ValueError: a query without a right answer, or one named twice.
    """
    place = Path(folder) if folder else _folder()
    return _read(place / f"{name}_image_to_caption.json"), _read(place / f"{name}_caption_to_image.json")


def _read(path: Path) -> Answers:
    answers = {int(query): [int(item) for item in items] for query, items in json.loads(path.read_bytes()).items()}
    odd = [query for query, items in answers.items() if not items or len(set(items)) != len(items)]
    if odd:
        raise ValueError(f"{path}: query {odd[0]} has no right answer, or one twice ({len(odd)} such queries)")
    return answers


def _folder() -> Path:
    found = importlib.util.find_spec("eccv_caption")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "COCO's published ids come with the package eccv-caption, which is not installed: "
            'pip install "itembed_tf[coco]"'
        )
    return Path(found.submodule_search_locations[0]) / "data"
