"""MSCOCO reader, 123,287 images with five to seven captions each: Karpathy's split, or a random one of any images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.data.readers.group import SPLITS, Group
from itembed_tf.data.readers.image_paths import ImageFiles, resolve_images
from itembed_tf.data.readers.karpathy import PAGE, read_karpathy
from itembed_tf.data.readers.problems import format_problems
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
PARTS_2017 = ("train2017", "val2017")  # the same images, divided otherwise and named by id alone
KARPATHY = "dataset_coco.json"
CAPTIONS = ("annotations/captions_{part}.json", "captions_{part}.json")
RANDOM_SIZES = {"test": 5000, "dev": 5000}  # as in the released code; all other images are train
ADVICE = (
    "train2014, val2014 and their annotations (captions_train2014.json, captions_val2014.json), or those of 2017: "
    f"https://cocodataset.org/#download. {KARPATHY}: {PAGE}. docs/datasets.md shows the expected directory layout."
)
# checksum(*sorted file names) of Karpathy's lists as published in kelvinxu/arctic-captions. Those of val and test equal
# the lists in peteanderson80/bottom-up-attention, and that of test the one in the package eccv-caption.
OFFICIAL = {
    "train": "fd39799117d18fb9ed645cbd56ef6950b9ea2d4f09a9c963f0634d0425b7c390",
    "dev": "7872b37c55d5e0a21050f529028505f477ea4683c89a1ac47eb58891bdfc4a83",
    "test": "da2540499b306886bdd5fad0b7c5972de235e1f7e9e66db67f3dca26ac5c9199",
}


def read(*, root: str, splits: Sequence[str], split_by: str, held_out_percent: int, **_others: object) -> list[Group]:
    """Read one group per image, with COCO's image id, in the order of the files.

    ::

        root/train2014/*.jpg, root/val2014/*.jpg       or train2017/ and val2017/, with the same images
        root/dataset_coco.json                         split_by = "karpathy": splits and captions
        root/annotations/captions_train2014.json       split_by = "random": captions (or both files in root itself)
        root/annotations/captions_val2014.json

    "karpathy" is the split of published results: 113,287 (with restval), 5,000 and 5,000. "random" has the same sizes,
    over train2014 and then val2014, as in the released code, but **different images**: the released code uses MATLAB's
    randperm(n, k) with seed 1, whose algorithm is not published; here it is NumPy's RandomState(1). Of 10,000 images or
    fewer, "random" holds out `held_out_percent` for dev and for test, at least one each.

    "random" reads files of this format for any images: without those of 2014 or 2017, all JSON files of root and of
    root/annotations with the list "annotations"; the images may be anywhere in root.

    Raises:
        FileNotFoundError: a file or an image folder is missing, or all images are.
        ValueError: a file cannot be parsed, or an image has no captions.
    """
    folder = open_root(root, "MSCOCO", ADVICE)
    if split_by == "karpathy":
        path = find_path(folder, (KARPATHY,), "Karpathy's file", ADVICE)
        groups = read_karpathy(path, "coco", {part: folder / part for part in PARTS}, ADVICE)
        for split in splits:
            names = [Path(str(group.images[0])).name for group in groups if group.split == split]
            warn_unless_official(path, names, split, OFFICIAL[split])
        if not any((folder / part).is_dir() for part in PARTS) and (folder / PARTS_2017[0]).is_dir():
            groups = _of_2017(groups, folder)
    else:
        path = folder
        groups = _random_split(_read_all(folder), held_out_percent)
    used = [group for group in groups if group.split in splits]
    if path != folder or _parts(folder):
        for part in sorted({Path(str(group.images[0])).parent.name for group in used}):
            find_path(folder, (f"{part}/",), "an image folder", ADVICE)
        warn_of_caption_counts(used, 5, 7, path)
    check_images(used, ADVICE)
    return groups


def _of_2017(groups: Sequence[Group], folder: Path) -> list[Group]:
    """The same images in the folders of 2017: there COCO_val2014_000000391895.jpg is 000000391895.jpg."""
    train, val = PARTS_2017
    in_val = ImageFiles(folder).names(val)
    names = [f"{int(group.id):012d}.jpg" for group in groups]
    paths = [folder / (val if name in in_val else train) / name for name in names]
    return [replace(group, images=(str(path),)) for group, path in zip(groups, paths)]


def _parts(folder: Path) -> tuple[str, ...]:
    """The parts of MSCOCO that the folder has captions or images of; () for other images."""
    marks = [*CAPTIONS, "{part}"]
    both = (PARTS, PARTS_2017)
    return next(
        (parts for parts in both if any((folder / m.format(part=p)).exists() for m in marks for p in parts)), ()
    )


def _random_split(groups: Sequence[Group], percent: int) -> list[Group]:
    """Hold out RANDOM_SIZES images, or `percent` of them for each split where that leaves none for train."""
    sizes = RANDOM_SIZES
    if len(groups) <= sum(sizes.values()):
        sizes = dict.fromkeys(sizes, max(1, len(groups) * percent // 100))
    if len(groups) <= sum(sizes.values()):
        raise ValueError(
            f"COCO: {len(groups)} images are too few to hold out some for dev and for test; use three or more. {ADVICE}"
        )
    drawn = np.random.RandomState(1).permutation(len(groups))  # NumPy's legacy generator: the same in every version
    splits = np.full(len(groups), SPLITS.index("train"))
    start = 0
    for split, size in sizes.items():
        splits[drawn[start : start + size]] = SPLITS.index(split)
        start += size
    return [replace(group, split=SPLITS[i]) for group, i in zip(groups, splits)]


def _read_all(folder: Path) -> list[Group]:
    """The groups of all caption files, as train: those of 2014 or 2017, else all files of COCO's format."""
    if parts := _parts(folder):
        groups = []
        for part in parts:
            path = find_path(folder, [each.format(part=part) for each in CAPTIONS], f"the captions of {part}", ADVICE)
            groups += _read_captions(path, read_json(path, ADVICE), folder / part)
        return groups
    found = sorted([*folder.glob("*.json"), *(folder / "annotations").glob("*.json")])
    contents = {path: content for path in found if _has_captions(content := read_json(path, ADVICE))}
    if not contents:
        raise FileNotFoundError(
            f"{folder}: no file of captions; it must be annotations/captions_train2014.json, or any JSON file with "
            f'"images" and "annotations" that have "caption". {ADVICE}'
        )
    groups = [group for path, content in contents.items() for group in _of_any_images(path, content, folder)]
    ids = [group.id for group in groups]
    if len(set(ids)) < len(ids):  # every file counts from its own beginning
        names = [path.stem for path, content in contents.items() for _ in content["images"]]
        groups = [replace(group, id=f"{name}-{group.id}") for group, name in zip(groups, names, strict=True)]
    return groups


def _has_captions(content: Any) -> bool:
    annotations = content.get("annotations") if isinstance(content, dict) else None
    return isinstance(annotations, list) and any(isinstance(each, dict) and "caption" in each for each in annotations)


def _of_any_images(path: Path, content: Any, folder: Path) -> list[Group]:
    """The groups of a file whose images are anywhere in the folder."""
    for image in content["images"] if isinstance(content.get("images"), list) else []:
        if isinstance(image, dict) and isinstance(image.get("file_name"), str):
            image["file_name"] = image["file_name"].replace("\\", "/")
    groups = _read_captions(path, content, Path())
    files = ImageFiles(folder)
    names = [Path(str(group.images[0])).as_posix() for group in groups]
    found = resolve_images(names, files, str(path))
    for text in found.warnings:
        warnings.warn(text, stacklevel=4)
    return [replace(group, images=(str(folder / found.files[name]),)) for group, name in zip(groups, names)]


def _read_captions(path: Path, content: Any, images_folder: Path) -> list[Group]:
    """Read captions_train2014.json or another file of this format, in file order, all groups as train."""
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
    captions = _captions(annotations, names, problems)
    if not problems:
        problems += [f"{name}: no caption" for id, name in names.items() if id not in captions]
    if len(set(names.values())) != len(names):
        problems.append("two images have the same file_name")
    if problems:
        raise ValueError(f"{path}: {format_problems(problems, 'entries')}\n{ADVICE}")
    return [
        Group(
            id=str(id),
            images=(str(images_folder / name),),
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
    annotations: Sequence[Any], names: dict[int, str], problems: list[str]
) -> dict[int, list[tuple[int, str]]]:
    """Ids and captions by image id, empty captions among them. Adds invalid entries to `problems`."""
    captions: dict[int, list[tuple[int, str]]] = {}
    seen: set[object] = set()
    for number, entry in enumerate(annotations):
        problem = ""
        if not isinstance(entry, dict) or not {"image_id", "caption", "id"} <= entry.keys():
            problem = 'not an object with "id", "image_id" and "caption"'
        elif type(entry["image_id"]) is not int or entry["image_id"] not in names:
            problem = f'image_id {str(entry["image_id"])[:60]!r} is not in "images"'
        elif type(entry["id"]) is not int or entry["id"] in seen:
            problem = f"id {str(entry['id'])[:60]!r}; it must be a unique integer"
        elif not is_caption(entry["caption"]) and str(entry["caption"]).strip():
            problem = f"the caption {str(entry['caption'])[:60]!a} is not valid text"
        if problem:
            problems.append(f"annotations[{number}]: {problem}")
        else:
            captions.setdefault(entry["image_id"], []).append((entry["id"], entry["caption"].strip()))
            seen.add(entry["id"])
    return captions
