"""MSCOCO 2014 reader: 123,287 images with five to seven captions each, Karpathy's split or a random one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.data.readers.group import SPLITS, Group, format_items
from itembed_tf.data.readers.karpathy import PAGE, read_karpathy
from itembed_tf.data.readers.source import (
    check_images,
    find_path,
    is_caption,
    open_root,
    path_problem,
    read_json,
    warn_of_caption_counts,
    warn_unless_official,
)

PARTS = ("train2014", "val2014")
KARPATHY = "dataset_coco.json"
CAPTIONS = ("annotations/captions_{part}.json", "captions_{part}.json")
RANDOM_SIZES = {"test": 5000, "dev": 5000}  # as in the released code; all other images are train
ADVICE = (
    "train2014, val2014 and their annotations (captions_train2014.json, captions_val2014.json): "
    f"https://cocodataset.org/#download. {KARPATHY}: {PAGE}. docs/datasets.md shows the expected directory layout."
)
# checksum(*sorted file names) of Karpathy's lists as published in kelvinxu/arctic-captions. Those of val and test equal
# the lists in peteanderson80/bottom-up-attention, and that of test the one in the package eccv-caption.
OFFICIAL = {
    "train": "fd39799117d18fb9ed645cbd56ef6950b9ea2d4f09a9c963f0634d0425b7c390",
    "dev": "7872b37c55d5e0a21050f529028505f477ea4683c89a1ac47eb58891bdfc4a83",
    "test": "da2540499b306886bdd5fad0b7c5972de235e1f7e9e66db67f3dca26ac5c9199",
}


def read(*, root: str, splits: Sequence[str], split_by: str, **_others: object) -> list[Group]:
    """Read one group per image, with COCO's image id, in the order of the files.

    ::

        root/train2014/*.jpg, root/val2014/*.jpg
        root/dataset_coco.json                         split_by = "karpathy": splits and captions
        root/annotations/captions_train2014.json       split_by = "random": captions (or both files in root itself)
        root/annotations/captions_val2014.json

    "karpathy" is the split of published results: 113,287 (with restval), 5,000 and 5,000. "random" has the same sizes,
    over train2014 and then val2014, as in the released code, but **different images**: the released code uses MATLAB's
    randperm(n, k) with seed 1, whose algorithm is not published; here it is NumPy's RandomState(1).

    Raises:
        FileNotFoundError: a file or an image folder is missing, or all images are.
        ValueError: a file cannot be parsed, or an image has no captions.
    """
    folder = open_root(root, "MSCOCO", ADVICE)
    if split_by == "karpathy":
        path = find_path(folder, (KARPATHY,), "Karpathy's file", ADVICE)
        folders = {part: folder / part for part in PARTS}
        groups = read_karpathy(path, "coco", folders, ADVICE)
        for split in splits:
            names = [Path(str(group.images[0])).name for group in groups if group.split == split]
            warn_unless_official(path, names, split, OFFICIAL[split])
    else:
        path = folder
        groups = _random_split([group for part in PARTS for group in _read_part(folder, part)])
    used = [group for group in groups if group.split in splits]
    for part in sorted({Path(str(group.images[0])).parent.name for group in used}):
        find_path(folder, (f"{part}/",), "an image folder", ADVICE)
    warn_of_caption_counts(used, 5, 7, path)
    check_images(used, ADVICE)
    return groups


def _random_split(groups: Sequence[Group]) -> list[Group]:
    held_out = sum(RANDOM_SIZES.values())
    if len(groups) <= held_out:
        raise ValueError(
            f"MSCOCO: {len(groups):,} images; the random split needs all 123,287, of which it holds out {held_out:,}. "
            f"{ADVICE}"
        )
    drawn = np.random.RandomState(1).permutation(len(groups))  # NumPy's legacy generator: the same in every version
    splits = np.full(len(groups), SPLITS.index("train"))
    start = 0
    for split, size in RANDOM_SIZES.items():
        splits[drawn[start : start + size]] = SPLITS.index(split)
        start += size
    return [replace(group, split=SPLITS[i]) for group, i in zip(groups, splits)]


def _read_part(folder: Path, part: str) -> list[Group]:
    """Read captions_train2014.json or captions_val2014.json, in file order, all groups as train."""
    choices = [choice.format(part=part) for choice in CAPTIONS]
    path = find_path(folder, choices, f"the captions of {part}", ADVICE)
    content = read_json(path, ADVICE)
    images, annotations = (content.get(k) if isinstance(content, dict) else None for k in ("images", "annotations"))
    if not isinstance(images, list) or not isinstance(annotations, list) or not images:
        raise ValueError(
            f'{path} is not a COCO caption file: it must have the lists "images" and "annotations". {ADVICE}'
        )
    problems: list[str] = []
    names: dict[int, str] = {}
    for number, image in enumerate(images):
        problem = _image_problem(image)
        if not problem and image["id"] in names:
            problem = f"the id {image['id']} is that of {names[image['id']]}"
        if problem:
            problems.append(f"images[{number}]: {problem}")
        else:
            names[image["id"]] = image["file_name"]
    captions = _captions(annotations, names, path, problems)
    if not problems:
        problems += [f"{name}: no caption" for id, name in names.items() if id not in captions]
    if len(set(names.values())) != len(names):
        problems.append("two images have the same file_name")
    if problems:
        raise ValueError(f"{path}: {len(problems)} invalid entries:\n{format_items(problems)}\n{ADVICE}")
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


def _image_problem(image: Any) -> str:
    if not isinstance(image, dict) or "id" not in image or "file_name" not in image:
        return 'not an object with "id" and "file_name"'
    if type(image["id"]) is not int or image["id"] < 0:
        return f"id {str(image['id'])[:60]!r}; it must be an integer >= 0"
    return path_problem(image["file_name"])


def _captions(
    annotations: Sequence[Any], names: dict[int, str], path: Path, problems: list[str]
) -> dict[int, list[tuple[int, str]]]:
    """Ids and captions by image id. Adds invalid entries to `problems`, and warns of empty captions."""
    captions: dict[int, list[tuple[int, str]]] = {}
    seen: set[object] = set()
    empty = 0
    for number, entry in enumerate(annotations):
        problem = ""
        if not isinstance(entry, dict) or not {"image_id", "caption", "id"} <= entry.keys():
            problem = 'not an object with "id", "image_id" and "caption"'
        elif type(entry["image_id"]) is not int or entry["image_id"] not in names:
            problem = f'image_id {str(entry["image_id"])[:60]!r} is not in "images"'
        elif type(entry["id"]) is not int or entry["id"] in seen:
            problem = f"id {str(entry['id'])[:60]!r}; it must be a unique integer"
        elif isinstance(entry["caption"], str) and not entry["caption"].strip():
            empty += 1
        elif not is_caption(entry["caption"]):
            problem = f"the caption {str(entry['caption'])[:60]!a} is not valid text"
        else:
            captions.setdefault(entry["image_id"], []).append((entry["id"], entry["caption"].strip()))
        if problem:
            problems.append(f"annotations[{number}]: {problem}")
        else:
            seen.add(entry["id"])
    if empty:
        warnings.warn(f"{path}: {empty} captions are empty and ignored", stacklevel=3)
    return captions
