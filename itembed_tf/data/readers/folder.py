"""Your own pictures: a folder with `captions.jsonl` or `captions.csv`; see docs/your_pictures.md."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from itembed_tf.data.readers.group import SPLITS, Group, bucket, some
from itembed_tf.data.readers.source import fault_of_path, is_sentence, parse_json, read_lines, read_text

FILES = ("captions.jsonl", "captions.csv")
ADVICE = "docs/your_pictures.md shows what it must look like."
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
    """One group a picture or, where rows have a label, one group a label with all of its pictures and captions.

    Rows of the same picture add up. Without splits in the file, a group's split follows from its id alone (the MD5
    modulo 100), so that it stays where it is when pictures are added.

    Args:
        root: the folder; paths in the caption file are relative to it, with "/".
        splits: those asked for.
        held_out_percent: without splits in the file: percent of the groups for dev, and as much for test.

    Raises:
        FileNotFoundError: no such folder, or no caption file in it.
        ValueError: both caption files; lines that cannot be used (all are listed, up to 20); an empty split.
    """
    path = _caption_file(root)
    problems: list[str] = []
    try:
        rows = list(_json_rows(path, problems) if path.suffix == ".jsonl" else _csv_rows(path, problems))
    except csv.Error as error:
        raise ValueError(
            f"{path} is not CSV ({error}): a caption with a comma or a quotation mark stands in quotation marks, "
            f'and one inside it is doubled: "a ""red"" car, parked". {ADVICE}'
        ) from error
    _check_rows(rows, problems)
    if problems:
        problems.sort(key=lambda problem: int(problem.split()[1].rstrip(":")))
        raise ValueError(f"{path}: {len(problems)} faults:\n{some(problems)}\n{ADVICE}")
    groups = _groups(Path(root), rows, held_out_percent)
    _check_splits(path, groups, splits, any(row.split for row in rows), held_out_percent)
    return groups


def _caption_file(root: str) -> Path:
    if not root or not Path(root).is_dir():
        raise FileNotFoundError(f"dataset.root = {root!r} is not a folder; it must be the one that holds your pictures")
    there = [Path(root) / name for name in FILES if (Path(root) / name).exists()]
    if not there:
        raise FileNotFoundError(f"{root} holds neither {' nor '.join(FILES)}: write one (see docs/your_pictures.md)")
    if len(there) > 1:
        raise ValueError(f"{root} holds both {' and '.join(FILES)}: keep one, it is not clear which counts")
    return there[0]


def _json_rows(path: Path, problems: list[str]) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path, ADVICE), 1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError as error:
            problems.append(f"line {number}: not JSON ({error}); one object a line")
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
            f"{path}: the first line is {','.join(header)[:200]!r}; it must name the columns, "
            f"image,caption and where you have them split,label{hint}"
        )
    line = 2
    for cells in table:
        first, line = line, table.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.append(
                f"line {first}: {len(cells)} columns where the first line names {len(header)}; "
                'a caption with a comma needs "quotation marks"'
            )
            continue
        if line > first + 1:
            problems.append(
                f"line {first}: runs on to line {line - 1}: a quotation mark is not closed where it should be "
                "(captions with line breaks can stand in captions.jsonl)"
            )
            continue
        row = _row(first, dict(zip(header, cells, strict=True)), problems)
        if row:
            yield row


def _row(number: int, entry: dict[str, object], problems: list[str]) -> Row | None:
    """One line's entry, checked by itself; None, and a problem more, where it cannot be used."""
    found = []
    unknown = sorted(set(entry) - set(COLUMNS))
    if unknown:
        found.append(f"unknown {', '.join(unknown)}; known are {', '.join(COLUMNS)}")
    if ("caption" in entry) == ("captions" in entry):
        found.append("needs a caption, or a list of captions, and not both")
    given = entry.get("caption", entry.get("captions", []))
    captions = given if isinstance(given, list) else [given]
    if not captions or not all(is_sentence(caption) for caption in captions):
        found.append("an empty caption, or one that is not text")
    texts = {key: "" if entry.get(key) is None else entry[key] for key in ("image", "split", "label")}
    for key, value in texts.items():
        if not isinstance(value, str):
            found.append(f"{key} is {value!r}; it must be text (in quotation marks)")
    image, split, label = (str(value).strip() for value in texts.values())
    found += [fault for fault in [fault_of_path(image)] if fault]
    if split and split.lower() not in SPLIT_NAMES:
        found.append(f"split {split!r}; it must be one of {', '.join(SPLIT_NAMES)}")
    problems += [f"line {number}: {fault}" for fault in found]
    if found:
        return None
    sentences = tuple(str(caption).strip() for caption in captions)
    return Row(number, str(PurePosixPath(image)), sentences, SPLIT_NAMES.get(split.lower(), ""), label)


def _check_rows(rows: Sequence[Row], problems: list[str]) -> None:
    """What only shows between lines: a caption given twice, a picture or label that is in two places."""
    splits_given = any(row.split for row in rows)
    first: dict[str, Row] = {}
    first_of_label: dict[str, Row] = {}
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        if splits_given and not row.split:
            problems.append(f"line {row.line}: no split, though other lines have one; give all or none")
        for caption in row.captions:
            earlier = seen.setdefault((row.image, caption), row.line)
            if earlier != row.line or row.captions.count(caption) > 1:
                problems.append(f"line {row.line}: {row.image} has this caption already (line {earlier})")
                break
        other = first.setdefault(row.image, row)
        if other.label != row.label:
            problems.append(
                f"line {row.line}: {row.image} has label {row.label!r}, in line {other.line} {other.label!r}"
            )
        if row.label:
            other = first_of_label.setdefault(row.label, row)
        if row.split and other.split and other.split != row.split:
            what = f"label {row.label}" if row.label else row.image
            problems.append(f"line {row.line}: {what} is in {row.split}, in line {other.line} it is in {other.split}")


def _groups(root: Path, rows: Sequence[Row], held_out_percent: int) -> list[Group]:
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(f"label:{row.label}" if row.label else row.image, []).append(row)
    groups = []
    for id, own in members.items():
        images = dict.fromkeys(str(root / row.image) for row in own)
        captions = dict.fromkeys(caption for row in own for caption in row.captions)
        split = own[0].split or _drawn_split(id, held_out_percent)
        groups.append(Group(id=id, images=tuple(images), captions=tuple(captions), split=split, label=own[0].label))
    return groups


def _drawn_split(id: str, held_out_percent: int) -> str:
    place = bucket(id, 100)
    return "dev" if place < held_out_percent else "test" if place < 2 * held_out_percent else "train"


def _check_splits(
    path: Path, groups: Sequence[Group], splits: Sequence[str], given: bool, held_out_percent: int
) -> None:
    there = [split for split in SPLITS if any(group.split == split for group in groups)]
    empty = [split for split in splits if split not in there]
    if not groups:
        raise ValueError(f"{path} holds no captions: write at least one line for each picture")
    if not empty:
        return
    drawn = (
        f"the file gives no splits, and dataset.held_out_percent = {held_out_percent} of {len(groups)} groups "
        "left none. Add a split column, or change that setting (below 50, so that some are left for train)"
    )
    why = f"its split column names {', '.join(there)}. Give some lines another split" if given else drawn
    raise ValueError(f"{path}: no group is in {' and '.join(empty)}: {why}, or ask only for dataset.splits = {there}")
