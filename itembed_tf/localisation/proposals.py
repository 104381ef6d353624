"""Boxes that may hold something, for each picture: read from a file, or found by OpenCV's EdgeBoxes.

The file has a line a picture, JSON: {"picture": id, "boxes": [[left, top, right, bottom], ...]}, best box first, in
pixels counted from 0, the last row and column inside. More than this program ever wrote may stand in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from itembed_tf.data.readers.group import some
from itembed_tf.data.readers.source import parse_json
from itembed_tf.files import write_atomically
from itembed_tf.localisation.boxes import tidy
from itembed_tf.localisation.entities import Annotated

LONGEST = 2**24  # bytes of a line
EDGES = (40.0, 100.0)  # Canny: gradients (Sobel, 3 x 3) from which an edge goes on, and from which it begins
SMALLEST = 100.0  # square pixels of a box; OpenCV's own 1,000 is a tenth of the side of a small picture


def compute_proposals(pictures: Sequence[Annotated], most: int) -> dict[str, np.ndarray]:
    """Find boxes by EdgeBoxes: id -> int32 [n, 4], best first, at most `most` of each picture, none twice.

    Raises:
        ModuleNotFoundError: OpenCV's contributed modules are not installed.
        ValueError: a picture that OpenCV cannot read, or in which it finds nothing.
    """
    cv2 = _opencv()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # pictures run beside each other instead

    def one(picture: Annotated) -> np.ndarray:
        pixels = cv2.imread(picture.image)
        if pixels is None:
            raise ValueError(f"{picture.image} cannot be read by OpenCV")
        return tidy(_edge_boxes(cv2, pixels, most), picture.width, picture.height, most)

    try:
        with ThreadPoolExecutor() as pool:
            found = pool.map(one, pictures)
            bar = tqdm(zip(pictures, found), total=len(pictures), desc="proposals", unit=" pictures")
            boxes = {picture.id: proposed for picture, proposed in bar}
    finally:
        cv2.setNumThreads(threads)
    return _whole(boxes, pictures, "the proposer")


def read_proposals(path: str | Path, pictures: Sequence[Annotated], most: int) -> dict[str, np.ndarray]:
    """What `write_proposals` wrote, or another program in that format; as `compute_proposals` gives it.

    Pictures that are not asked for may stand in the file too.

    Raises:
        ValueError: a line that is not as the module says, or a picture without boxes.
    """
    asked = {picture.id: picture for picture in pictures}
    boxes: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(LONGEST):
            number += 1
            where = f"{path}, line {number}"
            if len(line) == LONGEST:
                raise ValueError(f"{where} is longer than {LONGEST:,} bytes; a line holds one picture's boxes")
            id, found = _entry(line, where)
            if id in boxes:
                raise ValueError(f"{where}: picture {id!r} stands in the file twice")
            if id in asked:
                boxes[id] = tidy(found, asked[id].width, asked[id].height, most)
    return _whole(boxes, pictures, str(path))


def write_proposals(path: str | Path, proposals: Mapping[str, np.ndarray]) -> Path:
    """Write the file that `read_proposals` reads."""
    lines = [json.dumps({"picture": id, "boxes": boxes.tolist()}) + "\n" for id, boxes in proposals.items()]
    return write_atomically(path, "".join(lines))


def _entry(line: bytes, where: str) -> tuple[str, np.ndarray]:
    try:
        entry = parse_json(line.decode("utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{where} is no JSON: {error}") from None
    id, boxes = (entry.get("picture"), entry.get("boxes")) if isinstance(entry, dict) else (None, None)
    if not isinstance(id, str) or not isinstance(boxes, list) or not all(map(_is_box, boxes)):
        raise ValueError(
            f'{where}: {str(entry)[:60]!r}; it must be {{"picture": "id", "boxes": [[left, top, right, bottom], ...]}}'
        )
    return id, np.rint(np.array(boxes, np.float64).reshape(-1, 4))


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    return all(type(side) in (int, float) and math.isfinite(side) and abs(side) < 1e6 for side in box)


def _whole(boxes: dict[str, np.ndarray], pictures: Sequence[Annotated], where: str) -> dict[str, np.ndarray]:
    without = [picture.id for picture in pictures if not len(boxes.get(picture.id, ()))]
    if without:
        raise ValueError(f"{where} has no box inside {len(without)} of {len(pictures)} pictures:\n{some(without)}")
    return boxes


def _opencv() -> Any:
    try:
        import cv2

        cv2.ximgproc.createEdgeBoxes  # noqa: B018 - only the contributed build has it
    except (ImportError, AttributeError) as error:
        raise ModuleNotFoundError(
            "Proposals are computed by OpenCV's contributed modules, which are not installed. Install them with:  "
            'pip install "itembed_tf[proposals]"  or name a file of proposals in --proposals.'
        ) from error
    return cv2


def _edge_boxes(cv2: Any, pixels: np.ndarray, most: int) -> np.ndarray:
    """EdgeBoxes (Zitnick and Dollár 2014) with the settings of the paper's code, on Canny's edges.

    The original takes the edges of a learned detector, whose model OpenCV does not bring along.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), (0, 0), 1.0)
    across, down = (cv2.Sobel(grey, cv2.CV_16S, x, 1 - x, ksize=3) for x in (1, 0))
    strength = np.hypot(across, down, dtype=np.float32) * (cv2.Canny(across, down, *EDGES, L2gradient=True) > 0)
    direction = np.mod(np.arctan2(down, across, dtype=np.float32) + np.float32(np.pi / 2), np.float32(np.pi))
    finder = cv2.ximgproc.createEdgeBoxes(
        alpha=0.65, beta=0.65, eta=1.0, minScore=0.01, maxBoxes=most, minBoxArea=SMALLEST
    )
    found, _ = finder.getBoundingBoxes(strength / max(float(strength.max()), 1.0), direction)
    boxes = np.array(found, np.int64).reshape(-1, 4)  # left, top, width, height
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - 1], axis=1)
