"""Records of caption files: tables, JSON Lines, JSON in the forms of COCO, Karpathy and others, and token files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

from itembed_tf.data.readers.columns import is_header
from itembed_tf.data.readers.problems import format_problems
from itembed_tf.data.readers.source import parse_json, read_json, read_lines
from itembed_tf.data.readers.table import read_table
from itembed_tf.data.readers.tokens import is_token_line, read_tokens

TABLES = (".csv", ".tsv", ".txt")
JSON = (".json", ".jsonl", ".ndjson")
TOKENS = (".token",)
SUFFIXES = (*TABLES, *JSON, *TOKENS)


@dataclass(frozen=True)
class Record:
    """One line, row or entry: its place in the file, and its values by column."""

    where: str
    values: dict[str, Any]


def read_records(path: Path, advice: str, problems: list[str]) -> tuple[list[str], list[Record]]:
    """The names of all columns, and the records; what cannot be read of the file is added to `problems`.

    Raises:
        ValueError: the file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in JSON:
        if _has_object_a_line(path, advice):
            return _with_names(_lines(path, advice, problems))
        return _with_names(_json(path, read_json(path, advice, without=("tokens", "sentids")), advice, problems))
    if suffix in TOKENS or (suffix == ".txt" and is_token_line(_first_line(path, advice))):
        captions = read_tokens(path, advice)
        return _with_names(Record(name, {"image": name, "captions": own}) for name, own in captions.items())
    table = read_table(path, advice, problems)
    rows = (Record(f"line {line}", dict(zip(table.header, cells, strict=True))) for line, cells in table.rows)
    return table.header, list(rows) if table.header else []


def _with_names(records: Iterable[Record]) -> tuple[list[str], list[Record]]:
    known = list(records)
    return list(dict.fromkeys(name for record in known for name in record.values)), known


def _first_line(path: Path, advice: str) -> str:
    return next((line for line in read_lines(path, advice) if line.strip()), "")


def _has_object_a_line(path: Path, advice: str) -> bool:
    """Whether a file is JSON Lines: its name says so, unless it begins with a list, or its first line is an object."""
    lines = [line for line in read_lines(path, advice) if line.strip()]
    first = lines[0].strip()
    if path.suffix.lower() != ".json":
        return not first.startswith("[{") and first != "["
    try:
        return len(lines) > 1 and isinstance(parse_json(first), dict)
    except ValueError:
        return False


def _lines(path: Path, advice: str, problems: list[str]) -> Iterable[Record]:
    for number, line in enumerate(read_lines(path, advice), 1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError as error:
            problems.append(f"line {number}: not valid JSON ({error}); write one object a line")
            continue
        if isinstance(entry, dict):
            yield Record(f"line {number}", entry)
        else:
            problems.append(f'line {number}: not an object; write {{"image": "...", "caption": "..."}}')


def _json(path: Path, content: Any, advice: str, problems: list[str]) -> Iterable[Record]:
    if isinstance(content, dict) and isinstance(content.get("annotations"), list) and "images" in content:
        return _coco(path, content, advice, problems)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        return [_karpathy(record) for record in _entries(content["images"], "images", problems)]
    if isinstance(content, dict) and is_header(",".join(content)):
        return _columns(content, problems)
    if isinstance(content, dict):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        if len(lists) == 1 and any(isinstance(value, dict) for value in next(iter(lists.values()))[:1]):
            key, entries = next(iter(lists.items()))
            return _entries(entries, key, problems)
        return [Record(f"{name!r}", {"image": name, "captions": captions}) for name, captions in content.items()]
    if isinstance(content, list):
        return _entries(content, "", problems)
    raise ValueError(
        f"{path} is {short(content)}; it must be a list of objects with image and caption, an object of captions by "
        f"image, or in COCO's or Karpathy's form. {advice}"
    )


def _columns(content: dict[str, Any], problems: list[str]) -> list[Record]:
    """The rows of lists by column, or of objects by column, as pandas writes them."""
    columns = {key: list(value.values()) if isinstance(value, dict) else value for key, value in content.items()}
    columns = {key: value for key, value in columns.items() if isinstance(value, list)}
    if len({len(value) for value in columns.values()}) != 1:
        problems.append("columns: lists of different lengths, or none; they must have a value for each row")
        return []
    rows = zip(*columns.values(), strict=True)
    return [Record(f"row {number}", dict(zip(columns, row, strict=True))) for number, row in enumerate(rows)]


def _entries(entries: list[Any], name: str, problems: list[str]) -> list[Record]:
    wrong = [f"{name}[{number}]: not an object" for number, each in enumerate(entries) if not isinstance(each, dict)]
    problems += wrong
    return [Record(f"{name}[{n}]", each) for n, each in enumerate(entries) if isinstance(each, dict)]


def _karpathy(record: Record) -> Record:
    """The path in Karpathy's form is that of the folder, "filepath", and the name, "filename"."""
    values = record.values
    folder, name = values.get("filepath"), values.get("filename")
    if isinstance(folder, str) and folder and isinstance(name, str) and "sentences" in values:
        return Record(record.where, {**values, "filename": f"{folder}/{name}"})
    return record


def _coco(path: Path, content: dict[str, Any], advice: str, problems: list[str]) -> Iterable[Record]:
    """Images with the captions of "annotations", which refer to them by "image_id"."""
    annotations = content["annotations"]
    if annotations and not any(isinstance(each, dict) and "caption" in each for each in annotations):
        raise ValueError(
            f'{path} has no captions: no entry of "annotations" has "caption". A COCO file of boxes or keypoints has '
            f"none; use its file of captions. {advice}"
        )
    if not isinstance(content["images"], list) or not content["images"]:
        raise ValueError(f'{path}: "images" must be a list of images that is not empty. {advice}')
    captions: dict[str, list[Any]] = {}
    for record in _entries(annotations, "annotations", problems):
        captions.setdefault(_key(record.values.get("image_id")), []).append(record.values.get("caption"))
    records, ids = [], set()
    for record in _entries(content["images"], "images", problems):
        key = _key(record.values.get("id"))
        if key in ids:
            problems.append(f"{record.where}: the id {key} is that of an image before")
        ids.add(key)
        values = {key: value for key, value in record.values.items() if key in ("file_name", "split")}
        records.append(Record(record.where, values | {"captions": captions.get(key, "")}))
    lost = [key for key in captions if key not in ids]
    if lost:
        problems += [f'annotations: image_id {key} is not in "images"' for key in lost]
    return records


def _key(id: Any) -> str:
    return re.sub(r"\s+", " ", str(id))[:60]


def read_problem(path: Path, problems: list[str], advice: str) -> None:
    """Raise ValueError with the problems of a file, if there are any."""
    if problems:
        raise ValueError(f"{path}: {format_problems(problems, 'lines')}\n{advice}")
