"""Flickr8k reader: the original layout or the common one (`Images/`, `captions.txt`); official lists or Karpathy's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from itembed_tf.data.readers.group import SPLITS, Group, format_items
from itembed_tf.data.readers.karpathy import PAGE, read_karpathy
from itembed_tf.data.readers.problems import format_problems
from itembed_tf.data.readers.source import (
    check_images,
    find_path,
    open_root,
    read_lines,
    read_text,
    warn_unless_official,
)
from itembed_tf.data.readers.tokens import image_name, read_tokens, token_problem

IMAGES = ("Flicker8k_Dataset/", "Images/")
KARPATHY = "dataset_flickr8k.json"
TOKENS = ("Flickr8k_text/Flickr8k.token.txt", "Flickr8k.token.txt")
TABLE = "captions.txt"
LISTS = ("Flickr8k_text/Flickr_8k.{split}Images.txt", "Flickr_8k.{split}Images.txt")
ADVICE = f"docs/datasets.md shows the expected directory layout of Flickr8k. ({KARPATHY}: {PAGE})"
# checksum(*sorted names) of the official lists.
OFFICIAL = {
    "train": "8fddc9ff20c7e2e3914abb97b1d0db4572e17f95947d8d44076ae1483efbe46f",
    "dev": "4e29930f15daec375e5daec8354d33d970e57c681d2722e06b3573ad70713d0e",
    "test": "e0d1c40ec76e702565037cc506c75cb192861199ac5bebbe939b3eec5cc6bec3",
}


def read(*, root: str, splits: Sequence[str], split_by: str, **_others: object) -> list[Group]:
    """Read one group per listed image, with its captions (five in the published data).

    ::

        root/Flicker8k_Dataset/*.jpg                    or  root/Images/*.jpg
        root/Flickr8k_text/Flickr8k.token.txt           or  root/captions.txt  (header image,caption)
        root/Flickr8k_text/Flickr_8k.trainImages.txt    or  the lists in root itself
        root/Flickr8k_text/Flickr_8k.devImages.txt
        root/Flickr8k_text/Flickr_8k.testImages.txt
        root/dataset_flickr8k.json                      split_by = "karpathy": instead of captions and lists

    Groups whose image file is missing are kept; `itembed_tf.data.unreadable` counts and names them.

    Raises:
        FileNotFoundError: the folder, the image folder, the captions or a requested list is missing, or all images are.
        ValueError: a malformed line, a listed image without a caption, or an image in two lists.
    """
    folder = open_root(root, "Flickr8k", ADVICE)
    images = find_path(folder, IMAGES, "the image folder", ADVICE)
    if split_by == "karpathy":
        path = find_path(folder, (KARPATHY,), "Karpathy's file", ADVICE)
        groups = read_karpathy(path, "flickr8k", {"": images}, ADVICE)
    else:
        groups = _by_lists(folder, images, splits)
    check_images([group for group in groups if group.split in splits], ADVICE)
    return groups


def _by_lists(folder: Path, images: Path, splits: Sequence[str]) -> list[Group]:
    lists = {split: _read_list(folder, split) for split in SPLITS if split in splits or _find_list(folder, split)}
    _check_lists(folder, lists)
    captions = _read_captions(folder)
    missing = [name for split in splits for name in lists[split] if name not in captions]
    if missing:
        raise ValueError(
            f"Flickr8k in {folder}: {len(missing)} listed images have no caption:\n{format_items(missing)}\n"
            f"The caption file has names such as {', '.join(map(repr, list(captions)[:3]))}. {ADVICE}"
        )
    return [
        Group(id=Path(name).stem, images=(str(images / name),), captions=tuple(captions[name]), split=split)
        for split, names in lists.items()
        for name in names
        if name in captions
    ]


def _find_list(folder: Path, split: str) -> bool:
    return any((folder / choice.format(split=split)).exists() for choice in LISTS)


def _read_list(folder: Path, split: str) -> list[str]:
    choices = [choice.format(split=split) for choice in LISTS]
    if not _find_list(folder, split):
        existing = [other for other in SPLITS if _find_list(folder, other)]
        raise FileNotFoundError(
            f"Flickr8k in {folder}: the list of {split} is missing; it must be {' or '.join(choices)}. Lists of "
            f"{', '.join(existing) or 'no split'} exist: add the official list, or leave {split} out of "
            f"dataset.splits. {ADVICE}"
        )
    path = find_path(folder, choices, f"the list of {split}", ADVICE)
    names = [line.strip() for line in read_lines(path, ADVICE) if line.strip()]
    warn_unless_official(path, names, split, OFFICIAL[split])
    return names


def _check_lists(folder: Path, lists: dict[str, list[str]]) -> None:
    owner: dict[str, str] = {}
    duplicates = []
    for split, names in lists.items():
        for name in names:
            if name in owner:
                duplicates.append(f"{name}: {owner[name]} and {split}")
            owner[name] = split
    if duplicates:
        raise ValueError(
            f"Flickr8k in {folder}: {len(duplicates)} images are listed twice:\n{format_items(duplicates)}\n"
            "Remove one of the two lines, or use the official lists."
        )


def _read_captions(folder: Path) -> dict[str, list[str]]:
    path = find_path(folder, (*TOKENS, TABLE), "the caption file", ADVICE)
    if path.name != TABLE:
        return read_tokens(path, ADVICE)
    captions: dict[str, list[str]] = {}
    problems = []
    for number, image, caption in _table_lines(path):
        name = image_name(image)
        problem = token_problem(name, caption)
        if not problem and "\n" in caption:
            problem = "a quotation mark is not closed on this line"
        if problem:
            problems.append(f"line {number}: {problem}")
        else:
            captions.setdefault(name, []).append(caption.strip())
    if problems:
        raise ValueError(f"{path}: {format_problems(problems, 'lines')}\n{ADVICE}")
    return captions


def _table_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, image and caption of each row `name.jpg,caption`; the caption may be in quotation marks."""
    rows = csv.reader(io.StringIO(read_text(path, ADVICE), newline=""))
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if header != ["image", "caption"]:
            raise ValueError(
                f"{path}: the first line is {','.join(header)[:200]!r}; it must be 'image,caption'. {ADVICE}"
            )
        for row in rows:
            if row:
                yield rows.line_num, row[0], ",".join(row[1:])
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}; is a quotation mark not closed? {ADVICE}") from error
