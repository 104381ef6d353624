"""Folder reader: your own images, with captions in `captions.jsonl` or `captions.csv` (docs/your_images.md)."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from itembed_tf.data.readers.group import SPLITS, Group, bucket, format_items
from itembed_tf.data.readers.source import is_caption, parse_json, path_problem, read_lines, read_text

FILES = ("captions.jsonl", "captions.csv")
ADVICE = "docs/your_images.md shows the expected format; configs/photos.toml is a config for it."
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
COLUMNS = ("image", "caption", "captions", "split", "label")
SPLIT_NAMES = {**{split: split for split in SPLITS}, "val": "dev", "validation": "dev"}


@dataclass(frozen=True)
class Row:
    line: int
    image: str
    captions: tuple[str, ...]
    split: str
    label: str


def read(*, root: str, splits: Sequence[str], held_out_percent: int, **_others: object) -> list[Group]:
    """Read one group per image or, where rows have a label, one group per label with all its images and captions.

    Several rows may name one image. Without splits in the file, a group's split depends on its id alone (its MD5 modulo
    100), so that it does not change when images are added.

    Args:
        root: the folder; paths in the caption file are relative to it, with "/".
        splits: requested splits.
        held_out_percent: without splits in the file: percentage of groups in dev, and the same in test.

    Raises:
        FileNotFoundError: the folder or its caption file is missing.
        ValueError: both caption files; invalid lines (all are listed, up to 20); an empty split.
    """
    path = _caption_file(root)
    problems: list[str] = []
    try:
        rows = list(_json_rows(path, problems) if path.suffix == ".jsonl" else _csv_rows(path, problems))
    except csv.Error as error:
        raise ValueError(
            f"{path} is not valid CSV ({error}): put captions with commas or quotation marks in quotation marks, "
            f'and double those inside: "a ""red"" car, parked". {ADVICE}'
        ) from error
    _check_rows(rows, problems)
    if problems:
        problems.sort(key=lambda problem: int(problem.split()[1].rstrip(":")))
        raise ValueError(f"{path}: {len(problems)} invalid lines:\n{format_items(problems)}\n{ADVICE}")
    groups = _groups(Path(root), rows, held_out_percent)
    _check_splits(path, groups, splits, any(row.split for row in rows), held_out_percent)
    return groups


def images_without_caption(root: str, groups: Sequence[Group]) -> int:
    """Count the image files in the folder, hidden folders aside, that are in no group."""
    named = {os.path.normpath(str(image)) for group in groups for image in group.images}
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = (name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
        count += sum(os.path.normpath(os.path.join(folder, name)) not in named for name in images)
    return count


def _caption_file(root: str) -> Path:
    if not root or not Path(root).is_dir():
        raise FileNotFoundError(
            f"dataset.root = {root!r} is not a folder; it must be the folder of your images. {ADVICE}"
        )
    existing = [Path(root) / name for name in FILES if (Path(root) / name).exists()]
    if not existing:
        raise FileNotFoundError(f"{root} has no caption file; write {' or '.join(FILES)}. {ADVICE}")
    if len(existing) > 1:
        raise ValueError(f"{root} has both {' and '.join(FILES)}; keep only one of them")
    return existing[0]


def _json_rows(path: Path, problems: list[str]) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path, ADVICE), 1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError as error:
            problems.append(f"line {number}: not valid JSON ({error}); write one object a line")
            continue
        if not isinstance(entry, dict):
            problems.append(f'line {number}: not an object; write {{"image": "...", "caption": "..."}}')
            continue
        row = _row(number, entry, problems)
        if row:
            yield row


def _csv_rows(path: Path, problems: list[str]) -> Iterator[Row]:
    table = csv.reader(io.StringIO(read_text(path, ADVICE), newline=""), strict=True)
    header = [cell.strip() for cell in next(table, [])]
    if "image" not in header or "caption" not in header or len(set(header)) != len(header):
        hint = "; its columns must be separated by commas" if re.search("[;\t]", "".join(header)) else ""
        raise ValueError(
            f"{path}: the first line is {','.join(header)[:200]!r}; it must be the column names, image,caption "
            f"and optionally split,label{hint}"
        )
    line = 2
    for cells in table:
        first, line = line, table.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.append(
                f"line {first}: {len(cells)} columns instead of {len(header)}; put captions with commas in "
                '"quotation marks"'
            )
            continue
        if line > first + 1:
            problems.append(
                f"line {first}: a quotation mark is not closed before line {line - 1} (use captions.jsonl for captions "
                "with line breaks)"
            )
            continue
        row = _row(first, dict(zip(header, cells, strict=True)), problems)
        if row:
            yield row


def _row(number: int, entry: dict[str, object], problems: list[str]) -> Row | None:
    """Validate one line; returns None and adds to `problems` if it is invalid."""
    invalid = []
    unknown = sorted(set(entry) - set(COLUMNS))
    if unknown:
        invalid.append(f"unknown column {', '.join(unknown)}; allowed are {', '.join(COLUMNS)}")
    if ("caption" in entry) == ("captions" in entry):
        invalid.append("must have either caption or captions (a list)")
    given = entry.get("caption", entry.get("captions", []))
    captions = given if isinstance(given, list) else [given]
    if not captions or not all(is_caption(caption) for caption in captions):
        invalid.append("a caption that is empty, or not valid text")
    texts = {key: "" if entry.get(key) is None else entry[key] for key in ("image", "split", "label")}
    for key, value in texts.items():
        if not isinstance(value, str):
            invalid.append(f"{key} is {value!r}; it must be text (in quotation marks)")
    image, split, label = (str(value).strip() for value in texts.values())
    invalid += [problem for problem in [path_problem(image)] if problem]
    if split and split.lower() not in SPLIT_NAMES:
        invalid.append(f"split {split!r}; it must be one of {', '.join(SPLIT_NAMES)}")
    problems += [f"line {number}: {problem}" for problem in invalid]
    if invalid:
        return None
    texts_of_image = tuple(str(caption).strip() for caption in captions)
    return Row(number, str(PurePosixPath(image)), texts_of_image, SPLIT_NAMES.get(split.lower(), ""), label)


def _check_rows(rows: Sequence[Row], problems: list[str]) -> None:
    """Validate rows against each other: duplicate captions, an image or a label in two splits."""
    splits_given = any(row.split for row in rows)
    first: dict[str, Row] = {}
    first_of_label: dict[str, Row] = {}
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        if splits_given and not row.split:
            problems.append(
                f"line {row.line}: no split, although other lines have one; give it in all lines or in none"
            )
        for caption in row.captions:
            earlier = seen.setdefault((row.image, caption), row.line)
            if earlier != row.line or row.captions.count(caption) > 1:
                problems.append(f"line {row.line}: the caption of {row.image} duplicates line {earlier}")
                break
        other = first.setdefault(row.image, row)
        if other.label != row.label:
            problems.append(
                f"line {row.line}: {row.image} has the label {row.label!r}, but {other.label!r} in line {other.line}"
            )
        if row.label:
            other = first_of_label.setdefault(row.label, row)
        if row.split and other.split and other.split != row.split:
            what = f"label {row.label}" if row.label else row.image
            problems.append(f"line {row.line}: {what} is in {row.split}, but in {other.split} in line {other.line}")


def _groups(root: Path, rows: Sequence[Row], held_out_percent: int) -> list[Group]:
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(f"label:{row.label}" if row.label else row.image, []).append(row)
    groups = []
    for id, group_rows in members.items():
        images = dict.fromkeys(str(root / row.image) for row in group_rows)
        captions = dict.fromkeys(caption for row in group_rows for caption in row.captions)
        first = group_rows[0]
        split = first.split or _hashed_split(id, held_out_percent)
        groups.append(Group(id=id, images=tuple(images), captions=tuple(captions), split=split, label=first.label))
    return groups


def _hashed_split(id: str, held_out_percent: int) -> str:
    percent = bucket(id, 100)
    return "dev" if percent < held_out_percent else "test" if percent < 2 * held_out_percent else "train"


def _check_splits(
    path: Path, groups: Sequence[Group], splits: Sequence[str], given: bool, held_out_percent: int
) -> None:
    existing = [split for split in SPLITS if any(group.split == split for group in groups)]
    empty = [split for split in splits if split not in existing]
    if not groups:
        raise ValueError(f"{path} has no captions; write at least one line for each image. {ADVICE}")
    if not empty:
        return
    if given:
        reason = f"its split column has only {', '.join(existing)}. Put some lines into {' and '.join(empty)}"
    else:
        reason = (
            f"the file has no splits, and dataset.held_out_percent = {held_out_percent} of {len(groups)} groups gave "
            "none. Add a split column, or change that setting (below 50, so that train is not empty)"
        )
    raise ValueError(f"{path}: no group is in {' and '.join(empty)}: {reason}, or set dataset.splits = {existing}")
