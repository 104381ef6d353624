"""MSCOCO 2014: 123,287 photographs with five captions or a few more, by Karpathy's split or by a random one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.data.readers.group import SPLITS, Group, some
from itembed_tf.data.readers.karpathy import PAGE, read_karpathy
from itembed_tf.data.readers.source import (
    check_pictures,
    fault_of_path,
    find,
    is_sentence,
    open_root,
    read_json,
    warn_of_captions,
    warn_unless_official,
)

PARTS = ("train2014", "val2014")
KARPATHY = "dataset_coco.json"
CAPTIONS = ("annotations/captions_{part}.json", "captions_{part}.json")
RANDOM_SIZES = {"test": 5000, "dev": 5000}  # as the released code; the other pictures are train
ADVICE = (
    "train2014, val2014 and their annotations (captions_train2014.json, captions_val2014.json): "
    f"https://cocodataset.org/#download. {KARPATHY}: {PAGE}. docs/data_sets.md shows how they must lie."
)
# checksum(*sorted file names) of Karpathy's lists as published in kelvinxu/arctic-captions. Those of val and test are
# the same as in peteanderson80/bottom-up-attention, that of test also the same as in the package eccv-caption.
OFFICIAL = {
    "train": "fd39799117d18fb9ed645cbd56ef6950b9ea2d4f09a9c963f0634d0425b7c390",
    "dev": "7872b37c55d5e0a21050f529028505f477ea4683c89a1ac47eb58891bdfc4a83",
    "test": "da2540499b306886bdd5fad0b7c5972de235e1f7e9e66db67f3dca26ac5c9199",
}


def read(*, root: str, splits: Sequence[str], split_by: str, **_others: object) -> list[Group]:
    """One group a photograph: its path and its captions; its id is COCO's. In the order of the files.

    ::

        root/train2014/*.jpg, root/val2014/*.jpg
        root/dataset_coco.json                         split_by = "karpathy": splits and captions
        root/annotations/captions_train2014.json       split_by = "random": captions (or both files in root itself)
        root/annotations/captions_val2014.json

    "karpathy" is what published results are on: 113,287 (restval among them), 5,000 and 5,000. "random" has the same
    sizes over train2014 and then val2014, as in the released code, but **not the same pictures**: it draws them with
    MATLAB's randperm(n, k) from seed 1, whose method is not published; we draw with NumPy's RandomState(1).

    Raises:
        FileNotFoundError: a file or a folder of pictures is missing, or none of the pictures is in them.
        ValueError: a file that cannot be read, or a picture without captions.
    """
    folder = open_root(root, "MSCOCO", ADVICE)
    if split_by == "karpathy":
        path = find(folder, (KARPATHY,), "Karpathy's file", ADVICE)
        folders = {part: folder / part for part in PARTS}
        groups = read_karpathy(path, "coco", folders, splits, ADVICE)
        for split in splits:
            names = [Path(str(group.images[0])).name for group in groups if group.split == split]
            warn_unless_official(path, names, split, OFFICIAL[split])
    else:
        path = folder
        groups = _random_split([group for part in PARTS for group in _read_part(folder, part)], splits)
    for part in sorted({Path(str(group.images[0])).parent.name for group in groups}):
        find(folder, (f"{part}/",), "a folder of pictures", ADVICE)
    warn_of_captions(groups, 5, 7, path)
    check_pictures(groups, ADVICE)
    return groups


def _random_split(groups: Sequence[Group], splits: Sequence[str]) -> list[Group]:
    held_out = sum(RANDOM_SIZES.values())
    if len(groups) <= held_out:
        raise ValueError(
            f"MSCOCO: {len(groups):,} pictures; the random split holds out {held_out:,} of 123,287. {ADVICE}"
        )
    drawn = np.random.RandomState(1).permutation(len(groups))  # NumPy's frozen generator: the same in every version
    place = np.full(len(groups), SPLITS.index("train"))
    start = 0
    for split, size in RANDOM_SIZES.items():
        place[drawn[start : start + size]] = SPLITS.index(split)
        start += size
    named = ((group, SPLITS[i]) for group, i in zip(groups, place))
    return [replace(group, split=split) for group, split in named if split in splits]


def _read_part(folder: Path, part: str) -> list[Group]:
    """The pictures of captions_train2014.json or captions_val2014.json, in its order, all called train."""
    choices = [choice.format(part=part) for choice in CAPTIONS]
    path = find(folder, choices, f"the captions of {part}", ADVICE)
    content = read_json(path, ADVICE)
    images, annotations = (content.get(k) if isinstance(content, dict) else None for k in ("images", "annotations"))
    if not isinstance(images, list) or not isinstance(annotations, list) or not images:
        raise ValueError(f'{path} is not a file of captions: it needs the lists "images" and "annotations". {ADVICE}')
    problems: list[str] = []
    names: dict[int, str] = {}
    for number, image in enumerate(images):
        fault = _fault_of_image(image)
        if not fault and image["id"] in names:
            fault = f"the id {image['id']} is there already, of {names[image['id']]}"
        if fault:
            problems.append(f"images[{number}]: {fault}")
        else:
            names[image["id"]] = image["file_name"]
    captions = _captions(annotations, names, path, problems)
    bare = [name for id, name in names.items() if id not in captions]
    problems += [f"{name}: no caption" for name in ([] if problems else bare)]
    if len(set(names.values())) != len(names):
        problems.append("one file_name stands at two ids")
    if problems:
        raise ValueError(f"{path}: {len(problems)} faults:\n{some(problems)}\n{ADVICE}")
    return [
        Group(
            id=str(id),
            images=(str(folder / part / name),),
            captions=tuple(caption for _, caption in captions[id]),
            split="train",
            caption_ids=tuple(number for number, _ in captions[id]),
        )
        for id, name in names.items()
    ]


def _fault_of_image(image: Any) -> str:
    if not isinstance(image, dict) or "id" not in image or "file_name" not in image:
        return 'not an object with "id" and "file_name"'
    if type(image["id"]) is not int or image["id"] < 0:
        return f"id {str(image['id'])[:60]!r}; it must be a whole number"
    return fault_of_path(image["file_name"])


def _captions(
    annotations: Sequence[Any], names: dict[int, str], path: Path, problems: list[str]
) -> dict[int, list[tuple[int, str]]]:
    """Ids and captions by picture. What is wrong with others is added to `problems`; of empty ones it warns."""
    captions: dict[int, list[tuple[int, str]]] = {}
    seen: set[object] = set()
    empty = 0
    for number, entry in enumerate(annotations):
        fault = ""
        if not isinstance(entry, dict) or not {"image_id", "caption", "id"} <= entry.keys():
            fault = 'not an object with "id", "image_id" and "caption"'
        elif type(entry["image_id"]) is not int or entry["image_id"] not in names:
            fault = f"image_id {str(entry['image_id'])[:60]!r} is of no picture in this file"
        elif type(entry["id"]) is not int or entry["id"] in seen:
            fault = f"id {str(entry['id'])[:60]!r}; it must be a whole number, and no other caption's"
        elif isinstance(entry["caption"], str) and not entry["caption"].strip():
            empty += 1
        elif not is_sentence(entry["caption"]):
            fault = f"the caption {str(entry['caption'])[:60]!a} is not text that can be read"
        else:
            captions.setdefault(entry["image_id"], []).append((entry["id"], entry["caption"].strip()))
        if fault:
            problems.append(f"annotations[{number}]: {fault}")
        else:
            seen.add(entry["id"])
    if empty:
        warnings.warn(f"{path}: {empty} captions are empty, and left out", stacklevel=3)
    return captions
