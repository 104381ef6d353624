"""Annotation files of Flickr30k Entities: image size and boxes of each chain. XML entities are refused."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from itembed_tf.data.readers.source import read_text

MAX_BYTES = 2**22  # annotation files of the dataset have a few thousand bytes
SIDES = ("xmin", "ymin", "xmax", "ymax")
FLAGS = {"scene": "scene", "nobndbox": "no box"}

Annotation = tuple[tuple[int, int], dict[str, np.ndarray], dict[str, str], int]


def read_annotations(path: Path) -> Annotation:
    """Read one annotation file.

    An object may name several chains, and several objects may name one chain, which then has several boxes. Pixel
    coordinates start at 1 in the file and at 0 in the result. Boxes that cross the border are clipped and counted.

    Returns:
        (width, height); boxes of each chain, int32 [n, 4]; flags of chains without a box; number of clipped boxes.

    Raises:
        ValueError: malformed XML, a document type (it could define entities that expand without bound), or an element
            that is missing or not a number. The message names file, object and element.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes; the maximum for an annotation file is {MAX_BYTES:,}"
        )
    text = read_text(path, "")
    if "<!DOCTYPE" in text:
        raise ValueError(f"{path} has a document type (<!DOCTYPE>), which annotation files must not have")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path} is not valid XML: {error}") from None
    width, height = (_number(root, f"size/{side}", path, "the image") for side in ("width", "height"))
    if not width or not height:
        raise ValueError(f"{path}: size is {width} x {height}; both must be at least 1")
    boxes: dict[str, list[list[int]]] = {}
    unboxed: dict[str, str] = {}
    clipped = 0
    for number, entry in enumerate(root.findall("object"), start=1):
        what = f"object {number}"
        chains = [(name.text or "").strip() for name in entry.findall("name")]
        if not chains or not all(re.fullmatch(r"\d+", chain) for chain in chains):
            raise ValueError(f"{path}: {what} has the names {chains}; expected one or more chain numbers")
        if entry.find("bndbox") is None:
            flags = {flag: _number(entry, flag, path, what) for flag in FLAGS}
            unboxed |= {chain: _flag(flags) for chain in chains if chain not in unboxed or flags["scene"]}
            continue
        box, over = _box([_number(entry, f"bndbox/{side}", path, what) for side in SIDES], width, height, path, what)
        clipped += over
        for chain in chains:
            boxes.setdefault(chain, []).append(box)
    arrays = {chain: np.array(found, np.int32) for chain, found in boxes.items()}
    return (width, height), arrays, {c: flag for c, flag in unboxed.items() if c not in boxes}, clipped


def _box(sides: list[int], width: int, height: int, path: Path, what: str) -> tuple[list[int], bool]:
    left, top, right, bottom = (side - 1 for side in sides)
    if left > right or top > bottom or left >= width or top >= height or right < 0 or bottom < 0:
        raise ValueError(
            f"{path}: {what} has the box {sides}, which is empty or outside the image of {width} x {height}; "
            "xmin <= xmax and ymin <= ymax, counted from 1"
        )
    inside = [max(left, 0), max(top, 0), min(right, width - 1), min(bottom, height - 1)]
    return inside, inside != [left, top, right, bottom]


def _flag(flags: dict[str, int]) -> str:
    return next((meaning for flag, meaning in FLAGS.items() if flags[flag]), "no box")


def _number(entry: ElementTree.Element, part: str, path: Path, what: str) -> int:
    text = (entry.findtext(part) or "").strip()
    if not re.fullmatch(r"\d{1,6}", text):
        value = f"is {text[:40]!r}" if entry.find(part) is not None else "is missing"
        raise ValueError(f"{path}: {part} of {what} {value}; expected an integer")
    return int(text)
