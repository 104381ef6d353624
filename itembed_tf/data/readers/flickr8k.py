"""Flickr8k in its original layout and in the widespread one (`Images/`, `captions.txt`), by the official lists."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from itembed_tf.data.readers.group import SPLITS, Group, some
from itembed_tf.data.readers.karpathy import PAGE, read_karpathy
from itembed_tf.data.readers.source import (
    check_pictures,
    find,
    open_root,
    read_lines,
    read_text,
    warn_unless_official,
)
from itembed_tf.data.readers.tokens import fault_of_token, picture_name, read_tokens

PICTURES = ("Flicker8k_Dataset/", "Images/")
KARPATHY = "dataset_flickr8k.json"
TOKENS = ("Flickr8k_text/Flickr8k.token.txt", "Flickr8k.token.txt")
TABLE = "captions.txt"
LISTS = ("Flickr8k_text/Flickr_8k.{split}Images.txt", "Flickr_8k.{split}Images.txt")
ADVICE = f"docs/data_sets.md shows how Flickr8k must lie. ({KARPATHY}: {PAGE})"
# checksum(*sorted names) of the official lists; we have not had the one of test.
OFFICIAL = {
    "train": "8fddc9ff20c7e2e3914abb97b1d0db4572e17f95947d8d44076ae1483efbe46f",
    "dev": "4e29930f15daec375e5daec8354d33d970e57c681d2722e06b3573ad70713d0e",
}


def read(*, root: str, splits: Sequence[str], split_by: str, **_others: object) -> list[Group]:
    """One group a picture of the lists asked for: its path and its captions (five, in the real data).

    ::

        root/Flicker8k_Dataset/*.jpg                    or  root/Images/*.jpg
        root/Flickr8k_text/Flickr8k.token.txt           or  root/captions.txt  (header image,caption)
        root/Flickr8k_text/Flickr_8k.trainImages.txt    or  the lists in root itself
        root/Flickr8k_text/Flickr_8k.devImages.txt
        root/Flickr8k_text/Flickr_8k.testImages.txt
        root/dataset_flickr8k.json                      split_by = "karpathy": in place of captions and lists

    A picture that is listed but has no file keeps its group: `itembed_tf.data.unreadable` counts and names those.

    Raises:
        FileNotFoundError: the folder, the pictures' folder, the captions or a list asked for is missing, or not one of
            the pictures is there.
        ValueError: a malformed line, a listed picture without a caption, or one picture in two lists.
    """
    folder = open_root(root, "Flickr8k", ADVICE)
    pictures = find(folder, PICTURES, "the folder of pictures", ADVICE)
    if split_by == "karpathy":
        path = find(folder, (KARPATHY,), "Karpathy's file", ADVICE)
        groups = read_karpathy(path, "flickr8k", {"": pictures}, splits, ADVICE)
    else:
        groups = _by_lists(folder, pictures, splits)
    check_pictures(groups, ADVICE)
    return groups


def _by_lists(folder: Path, pictures: Path, splits: Sequence[str]) -> list[Group]:
    lists = {split: _read_list(folder, split) for split in SPLITS if split in splits or _find_list(folder, split)}
    _check_lists(folder, lists)
    captions = _read_captions(folder)
    bare = [name for split in splits for name in lists[split] if name not in captions]
    if bare:
        raise ValueError(f"Flickr8k in {folder}: {len(bare)} listed pictures have no caption:\n{some(bare)}\n{ADVICE}")
    return [
        Group(id=Path(name).stem, images=(str(pictures / name),), captions=tuple(captions[name]), split=split)
        for split in splits
        for name in lists[split]
    ]


def _find_list(folder: Path, split: str) -> bool:
    return any((folder / choice.format(split=split)).exists() for choice in LISTS)


def _read_list(folder: Path, split: str) -> list[str]:
    choices = [choice.format(split=split) for choice in LISTS]
    if not _find_list(folder, split):
        there = [other for other in SPLITS if _find_list(folder, other)]
        raise FileNotFoundError(
            f"Flickr8k in {folder}: the list of {split} is missing; it must be {' or '.join(choices)} there. "
            f"Lists of {', '.join(there) or 'no split'} are there: put the official list beside them, "
            f"or ask for other splits in dataset.splits. {ADVICE}"
        )
    path = find(folder, choices, f"the list of {split}", ADVICE)
    names = [line.strip() for line in read_lines(path, ADVICE) if line.strip()]
    if split in OFFICIAL:
        warn_unless_official(path, names, split, OFFICIAL[split])
    return names


def _check_lists(folder: Path, lists: dict[str, list[str]]) -> None:
    owner: dict[str, str] = {}
    twice = []
    for split, names in lists.items():
        for name in names:
            if name in owner:
                twice.append(f"{name}: {owner[name]} and {split}")
            owner[name] = split
    if twice:
        raise ValueError(
            f"Flickr8k in {folder}: {len(twice)} pictures are listed twice; once is the limit:\n{some(twice)}\n"
            "Take one of the two lines out, or get the official lists."
        )


def _read_captions(folder: Path) -> dict[str, list[str]]:
    path = find(folder, (*TOKENS, TABLE), "the file of captions", ADVICE)
    if path.name != TABLE:
        return read_tokens(path, ADVICE)
    captions: dict[str, list[str]] = {}
    problems = []
    for number, written, caption in _table_lines(path):
        name = picture_name(written)
        fault = fault_of_token(name, caption)
        if not fault and "\n" in caption:
            fault = "a quotation mark is opened here and not closed on the line"
        if fault:
            problems.append(f"line {number}: {fault}")
        else:
            captions.setdefault(name, []).append(caption.strip())
    if problems:
        raise ValueError(f"{path}: {len(problems)} lines cannot be read:\n{some(problems)}\n{ADVICE}")
    return captions


def _table_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Lines of `name.jpg,caption` under that header, quoted as CSV where the caption has commas."""
    rows = csv.reader(io.StringIO(read_text(path, ADVICE), newline=""))
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if header != ["image", "caption"]:
            raise ValueError(
                f"{path}: the first line is {','.join(header)[:200]!r}; it must be 'image,caption'. {ADVICE}"
            )
        for row in rows:
            if row:
                yield rows.line_num, row[0], ",".join(row[1:])
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}; is a quotation mark not closed? {ADVICE}") from error
