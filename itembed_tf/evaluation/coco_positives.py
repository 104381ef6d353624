"""Published correct answers on COCO's 5,000 test images (Karpathy split): original, CxC and ECCV Caption.

Read from the data files of the package eccv-caption (MIT; CxC within it Apache 2.0); the package is not imported. Ids
are COCO's image and caption ids. Contents of version 0.1.0:

========  ===============  ===============  ====================================================================
name      image queries    text queries     correct answers
========  ===============  ===============  ====================================================================
original  5,000            25,000           the image's first five captions; 25,000 in both directions
cxc       5,000            24,972           35,585 in both directions; a query's own match is not always included
eccv      1,261            1,332            22,550 captions and 11,279 images (its README swaps the directions)
========  ===============  ===============  ====================================================================

Two captions that ECCV Caption lists as correct are not among the 25,000. They count as correct answers that no model
retrieves, as in the package's own figures.
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
    """Ids of the 25,000 captions in the published order, five per image; each 5,000 are a fold of COCO 1K."""
    return np.load(_folder() / "coco_test_ids.npy", allow_pickle=False)


@cache
def image_of_caption() -> dict[int, int]:
    """Caption id -> id of the image that it was written for, for the 25,000 captions."""
    return {caption: images[0] for caption, images in correct_answers("original")[1].items()}


def correct_answers(name: str, folder: str | Path | None = None) -> tuple[Answers, Answers]:
    """The correct captions of each image query, and the correct images of each text query.

    Args:
        name: one of `NAMES`; or "pm", the plausible matches of PMRP, which are not in the package.
        folder: of `<name>_image_to_caption.json` and `<name>_caption_to_image.json`; None: the package's.

    Raises:
        ModuleNotFoundError: the package is not installed.
        ValueError: a query without a correct answer, or with the same one twice.
    """
    place = Path(folder) if folder else _folder()
    return _read(place / f"{name}_image_to_caption.json"), _read(place / f"{name}_caption_to_image.json")


def _read(path: Path) -> Answers:
    answers = {int(query): [int(item) for item in items] for query, items in json.loads(path.read_bytes()).items()}
    invalid = [query for query, items in answers.items() if not items or len(set(items)) != len(items)]
    if invalid:
        raise ValueError(
            f"{path}: query {invalid[0]} has no correct answer, or one answer twice ({len(invalid)} such queries)"
        )
    return answers


def _folder() -> Path:
    spec = importlib.util.find_spec("eccv_caption")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "COCO's published ids are in the package eccv-caption, which is not installed: "
            'pip install "itembed_tf[coco]"'
        )
    return Path(spec.submodule_search_locations[0]) / "data"
