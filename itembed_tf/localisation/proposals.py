"""Region proposals of each image: read from a file, or computed by OpenCV's EdgeBoxes.

The file has one JSON object a line for each image: {"image": id, "boxes": [[left, top, right, bottom], ...]}, best box
first, in zero-based pixels, right and bottom inclusive. The key "picture" of earlier versions is read too. The file may
come from another program.
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

from itembed_tf.data.readers.group import format_items
from itembed_tf.data.readers.source import parse_json
from itembed_tf.files import write_atomically
from itembed_tf.localisation.boxes import clean_proposals
from itembed_tf.localisation.entities import AnnotatedImage

MAX_LINE = 2**24  # bytes
EDGES = (40.0, 100.0)  # Canny: lower and upper threshold of the gradient (Sobel, 3 x 3)
MIN_AREA = 100.0  # square pixels; OpenCV's default of 1,000 misses small objects in small images


def compute_proposals(images: Sequence[AnnotatedImage], max_boxes: int) -> dict[str, np.ndarray]:
    """Compute proposals with EdgeBoxes: id -> int32 [n, 4], best first, at most `max_boxes`, no duplicates.

    Raises:
        ModuleNotFoundError: OpenCV's contributed modules are not installed.
        ValueError: an image that OpenCV cannot read, or an image without a proposal.
    """
    cv2 = _opencv()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # images are processed in parallel instead

    def one(image: AnnotatedImage) -> np.ndarray:
        pixels = cv2.imread(image.path)
        if pixels is None:
            raise ValueError(f"{image.path} cannot be read by OpenCV")
        return clean_proposals(_edge_boxes(cv2, pixels, max_boxes), image.width, image.height, max_boxes)

    try:
        with ThreadPoolExecutor() as pool:
            found = pool.map(one, images)
            bar = tqdm(zip(images, found), total=len(images), desc="proposals", unit=" images")
            boxes = {image.id: proposed for image, proposed in bar}
    finally:
        cv2.setNumThreads(threads)
    return _complete(boxes, images, "the proposer")


def read_proposals(path: str | Path, images: Sequence[AnnotatedImage], max_boxes: int) -> dict[str, np.ndarray]:
    """Read a proposals file; returns what `compute_proposals` returns.

    The file may hold other images too; these are ignored.

    Raises:
        ValueError: an invalid line, or an image without boxes.
    """
    asked = {image.id: image for image in images}
    boxes: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            where = f"{path}, line {number}"
            if len(line) == MAX_LINE:
                raise ValueError(f"{where} is longer than {MAX_LINE:,} bytes; a line holds the boxes of one image")
            id, found = _entry(line, where)
            if id in boxes:
                raise ValueError(f"{where}: duplicate image {id!r}")
            if id in asked:
                boxes[id] = clean_proposals(found, asked[id].width, asked[id].height, max_boxes)
    return _complete(boxes, images, str(path))


def write_proposals(path: str | Path, proposals: Mapping[str, np.ndarray]) -> Path:
    """Write the file that `read_proposals` reads."""
    lines = [json.dumps({"image": id, "boxes": boxes.tolist()}) + "\n" for id, boxes in proposals.items()]
    return write_atomically(path, "".join(lines))


def _entry(line: bytes, where: str) -> tuple[str, np.ndarray]:
    try:
        entry = parse_json(line.decode("utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{where} is not JSON: {error}") from None
    id, boxes = (
        (entry.get("image", entry.get("picture")), entry.get("boxes")) if isinstance(entry, dict) else (None, None)
    )
    if not isinstance(id, str) or not isinstance(boxes, list) or not all(map(_is_box, boxes)):
        raise ValueError(
            f'{where}: {str(entry)[:60]!r}; expected {{"image": "id", "boxes": [[left, top, right, bottom], ...]}}'
        )
    return id, np.rint(np.array(boxes, np.float64).reshape(-1, 4))


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    return all(type(side) in (int, float) and math.isfinite(side) and abs(side) < 1e6 for side in box)


def _complete(boxes: dict[str, np.ndarray], images: Sequence[AnnotatedImage], where: str) -> dict[str, np.ndarray]:
    without = [image.id for image in images if not len(boxes.get(image.id, ()))]
    if without:
        raise ValueError(f"{where} has no box within {len(without)} of {len(images)} images:\n{format_items(without)}")
    return boxes


def _opencv() -> Any:
    try:
        import cv2

        cv2.ximgproc.createEdgeBoxes  # noqa: B018 - only the contributed build has it
    except (ImportError, AttributeError) as error:
        raise ModuleNotFoundError(
            "Computing proposals needs OpenCV's contrib modules, which are not installed: "
            'pip install "itembed_tf[proposals]", or give a file of proposals with --proposals.'
        ) from error
    return cv2


def _edge_boxes(cv2: Any, pixels: np.ndarray, max_boxes: int) -> np.ndarray:
    """EdgeBoxes (Zitnick and Dollár 2014) with the settings of the paper's code, on Canny's edges.

    The original uses a learned edge detector, whose model OpenCV does not ship.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), (0, 0), 1.0)
    across, down = (cv2.Sobel(grey, cv2.CV_16S, x, 1 - x, ksize=3) for x in (1, 0))
    strength = np.hypot(across, down, dtype=np.float32) * (cv2.Canny(across, down, *EDGES, L2gradient=True) > 0)
    direction = np.mod(np.arctan2(down, across, dtype=np.float32) + np.float32(np.pi / 2), np.float32(np.pi))
    finder = cv2.ximgproc.createEdgeBoxes(
        alpha=0.65, beta=0.65, eta=1.0, minScore=0.01, maxBoxes=max_boxes, minBoxArea=MIN_AREA
    )
    found, _ = finder.getBoundingBoxes(strength / max(float(strength.max()), 1.0), direction)
    boxes = np.array(found, np.int64).reshape(-1, 4)  # left, top, width, height
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - 1], axis=1)
