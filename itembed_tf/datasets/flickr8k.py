"""Flickr8k in its original layout and in the widespread one (`Images/`, `captions.txt`), by the official lists."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from itembed_tf.datasets.group import SPLITS, Group, some
from itembed_tf.files import checksum

PICTURES = ("Flicker8k_Dataset", "Images")
TOKENS = ("Flickr8k_text/Flickr8k.token.txt", "Flickr8k.token.txt")
TABLE = "captions.txt"
LISTS = ("Flickr8k_text/Flickr_8k.{split}Images.txt", "Flickr_8k.{split}Images.txt")
# checksum(*sorted names) of the official lists; we have not had the one of test.
OFFICIAL = {
    "train": "8fddc9ff20c7e2e3914abb97b1d0db4572e17f95947d8d44076ae1483efbe46f",
    "dev": "4e29930f15daec375e5daec8354d33d970e57c681d2722e06b3573ad70713d0e",
}


def read(*, root: str, splits: Sequence[str], **_others: object) -> list[Group]:
    """One group a picture of the lists asked for: its path and its captions (five, in the real data).

    ::

        root/Flicker8k_Dataset/*.jpg                    or  root/Images/*.jpg
        root/Flickr8k_text/Flickr8k.token.txt           or  root/captions.txt  (header image,caption)
        root/Flickr8k_text/Flickr_8k.trainImages.txt    or  the lists in root itself
        root/Flickr8k_text/Flickr_8k.devImages.txt
        root/Flickr8k_text/Flickr_8k.testImages.txt

    A picture that is listed but has no file keeps its group: `itembed_tf.data` counts and names those.

    Raises:
        FileNotFoundError: the folder, the pictures' folder, the captions or a list asked for is missing.
        ValueError: a malformed line, a listed picture without a caption, or one picture in two lists.
    """
    folder = Path(root)
    if not root or not folder.is_dir():
        raise FileNotFoundError(f"dataset.root = {root!r} is not a folder; it must be the one that holds Flickr8k")
    pictures = _first(folder, PICTURES, "the folder of pictures")
    lists = {split: _read_list(folder, split) for split in SPLITS if split in splits or _find_list(folder, split)}
    _check_lists(lists)
    captions = _read_captions(folder)
    bare = [name for split in splits for name in lists[split] if name not in captions]
    if bare:
        raise ValueError(f"Flickr8k in {folder}: {len(bare)} listed pictures have no caption:\n{some(bare)}")
    return [
        Group(id=Path(name).stem, images=(str(pictures / name),), captions=tuple(captions[name]), split=split)
        for split in splits
        for name in lists[split]
    ]


def _first(folder: Path, choices: Sequence[str], what: str) -> Path:
    found = [folder / choice for choice in choices if (folder / choice).exists()]
    if not found:
        raise FileNotFoundError(f"Flickr8k in {folder}: {what} is missing; it must be {' or '.join(choices)} there")
    return found[0]


def _find_list(folder: Path, split: str) -> bool:
    return any((folder / choice.format(split=split)).exists() for choice in LISTS)


def _read_list(folder: Path, split: str) -> list[str]:
    choices = [choice.format(split=split) for choice in LISTS]
    if not _find_list(folder, split):
        there = [other for other in SPLITS if _find_list(folder, other)]
        raise FileNotFoundError(
            f"Flickr8k in {folder}: the list of {split} is missing; it must be {' or '.join(choices)} there. "
            f"Lists of {', '.join(there) or 'no split'} are there: put the official list beside them, "
            "or ask for other splits in dataset.splits"
        )
    path = _first(folder, choices, f"the list of {split}")
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if split in OFFICIAL and checksum(*sorted(names)) != OFFICIAL[split]:
        warnings.warn(
            f"{path} is not the official list of {split} ({len(names)} names, or others): "
            "results cannot be compared with published ones",
            stacklevel=4,
        )
    return names


def _check_lists(lists: dict[str, list[str]]) -> None:
    owner: dict[str, str] = {}
    twice = []
    for split, names in lists.items():
        for name in names:
            if name in owner:
                twice.append(f"{name}: {owner[name]} and {split}")
            owner[name] = split
    if twice:
        raise ValueError(f"Flickr8k: {len(twice)} pictures are listed twice; once is the limit:\n{some(twice)}")


def _read_captions(folder: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    problems = []
    path = _first(folder, (*TOKENS, TABLE), "the file of captions")
    for number, name, caption in _table_lines(path) if path.name == TABLE else _token_lines(path):
        # The official token file names one picture "2258277193_586949ec62.jpg.1".
        name = re.sub(r"(\.jpe?g)\.\d+$", r"\1", name.strip(), flags=re.IGNORECASE)
        if not name or not caption.strip():
            problems.append(f"line {number}: no {'caption' if name else 'picture'}")
        elif "\n" in caption:
            problems.append(f"line {number}: a quotation mark is opened here and not closed on the line")
        else:
            captions.setdefault(name, []).append(caption.strip())
    if problems:
        raise ValueError(f"{path}: {len(problems)} lines cannot be read:\n{some(problems)}")
    return captions


def _token_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Lines of `name.jpg#0<tab>caption`."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                name, _, caption = line.rstrip("\n").partition("\t")
                yield number, name.rpartition("#")[0], caption


def _table_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Lines of `name.jpg,caption` under that header, quoted as CSV where the caption has commas."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = [cell.strip() for cell in next(rows, [])]
        if header != ["image", "caption"]:
            raise ValueError(f"{path}: the first line is {','.join(header)!r}; it must be 'image,caption'")
        try:
            for row in rows:
                if row:
                    yield rows.line_num, row[0], ",".join(row[1:])
        except csv.Error as error:
            raise ValueError(f"{path}, line {rows.line_num}: {error}; is a quotation mark not closed?") from error
