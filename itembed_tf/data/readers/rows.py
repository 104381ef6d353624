"""Rows of caption files: one image with one or several captions, validated one by one and against each other."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from itembed_tf.data.readers.columns import Columns
from itembed_tf.data.readers.group import SPLITS, Group, ImageSource, format_items
from itembed_tf.data.readers.image_paths import ImageFiles, check_path, resolve_images
from itembed_tf.data.readers.source import is_caption, parse_json

LISTED = 5  # lines in a warning
SPLIT_NAMES = {**{split: split for split in SPLITS}, "val": "dev", "valid": "dev", "validation": "dev"}
SPLIT_NAMES["restval"] = "train"  # Karpathy's: the remainder of COCO's val2014, by convention a part of training
TEXT_KEYS = ("raw", "caption", "text", "sentence")  # of a caption that is an object


@dataclass(frozen=True)
class Row:
    """One row of a caption file, or one sample of a container.

    Attributes:
        where: its place, for messages, such as ``line 3``.
        id: of the image; that of the group where there is no label.
        image: its path as the file has it, until `find_images`; then its source.
        captions: may be empty or blank.
        split: "" if none is given.
        label: "" if none is given.
    """

    where: str
    id: str
    image: ImageSource
    captions: tuple[str, ...]
    split: str
    label: str


def row_of(where: str, values: dict[str, Any], columns: Columns, split: str, problems: list[str]) -> Row | None:
    """Validate one record; returns None and adds to `problems` if it is invalid. `split` is that of the file."""
    image, problem = check_path(values.get(columns.image))
    given = texts_of(where, values, columns, split, problems)
    if problem:
        problems.append(f"{where}: {problem}")
    return Row(where, image, image, *given) if given and not problem else None


def texts_of(
    where: str, values: dict[str, Any], columns: Columns, split: str, problems: list[str]
) -> tuple[tuple[str, ...], str, str] | None:
    """Captions, split and label of a record; None if one of them is invalid."""
    invalid = []
    present = [name for name in columns.captions if name in values]
    captions = [caption for name in present for caption in caption_list(values[name])]
    if not present:
        invalid.append(f"no {' or '.join(columns.captions)}")
    if any(not isinstance(each, str) or (each.strip() and not is_caption(each)) for each in captions):
        invalid.append("a caption that is not valid text")
    texts = {key: "" if values.get(key) is None else values[key] for key in (columns.split, columns.label) if key}
    invalid += [
        f"{key} is {str(value)[:60]!r}, which is not text; put it in quotation marks, or rename it if it is no {key}"
        for key, value in texts.items()
        if not isinstance(value, str)
    ]
    own, label = (str(texts.get(key, "")).strip() for key in (columns.split, columns.label))
    if own and own.lower() not in SPLIT_NAMES:
        invalid.append(f"split {own[:60]!r}; it must be one of {', '.join(SPLIT_NAMES)}")
    problems += [f"{where}: {problem}" for problem in invalid]
    if invalid:
        return None
    return tuple(caption.strip() for caption in captions), SPLIT_NAMES.get(own.lower(), split), label


def caption_list(value: Any) -> list[Any]:
    """The captions of a field: a text, a list of texts, or a list of objects with the text under a known key.

    Null and an empty list are one empty caption. A cell of a table may have a list as JSON or Python writes it.
    """
    if isinstance(value, str) and value.strip().startswith("["):
        value = _list_in(value)
    captions = value if isinstance(value, list) else ["" if value is None else value]
    return [_text(each) if isinstance(each, dict) else each for each in captions] or [""]


def _list_in(text: str) -> list[Any] | str:
    """The list of texts that a text is, such as ``["a dog", "a cat"]``; else the text."""
    for read in (parse_json, ast.literal_eval):  # which reads literals, and runs nothing
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
    return text


def _text(value: dict[str, Any]) -> Any:
    return next((value[key] for key in TEXT_KEYS if key in value), None)


def find_images(rows: Sequence[Row], files: ImageFiles, root: Path, where: str, problems: list[str]) -> list[Row]:
    """The rows with the paths of their image files, and with ids that are relative to `root` where these are in it.

    Rows whose images cannot be found because their paths are absolute are added to `problems`.
    """
    resolved = resolve_images(list(dict.fromkeys(str(row.image) for row in rows)), files, where)
    for text in resolved.warnings:
        warnings.warn(text, stacklevel=4)
    inside = f"{files.folder.relative_to(root).as_posix()}/" if files.folder.is_relative_to(root) else ""
    inside = inside.removeprefix("./")
    folder = "" if files.folder == Path() else str(files.folder)
    found = []
    for row in rows:
        if problem := resolved.problems.get(str(row.image)):
            problems.append(f"{row.where}: {problem}")
            continue
        file = resolved.files[str(row.image)]
        found.append(replace(row, id=f"{inside}{file}", image=os.path.join(folder, file)))
    return found


def check_rows(rows: Sequence[Row], where: str, problems: list[str]) -> list[Row]:
    """Validate rows against each other; returns them without captions that stand twice on one image, with a warning.

    An image with two labels, and an image or a label in two splits, are added to `problems`.
    """
    splits_given = any(row.split for row in rows)
    first: dict[str, Row] = {}
    first_of_label: dict[str, Row] = {}
    seen: dict[tuple[str, str], str] = {}
    repeated: list[str] = []
    checked = []
    for row in rows:
        if splits_given and not row.split:
            problems.append(f"{row.where}: no split, although other lines have one; give all a split, or none")
        other = first.setdefault(row.id, row)
        if other.label != row.label:
            problems.append(f"{row.where}: {row.id} has the label {row.label!r}, but {other.label!r} in {other.where}")
        if row.label:
            other = first_of_label.setdefault(row.label, row)
        if row.split and other.split and other.split != row.split:
            what = f"label {row.label}" if row.label else row.id
            problems.append(f"{row.where}: {what} is in {row.split}, but in {other.split} in {other.where}")
        captions = []
        for caption in row.captions:
            earlier = seen.setdefault((row.id, caption), row.where) if caption else ""
            if caption and (earlier != row.where or caption in captions):
                repeated.append(f"{row.where}: the caption of {row.id} duplicates {earlier}")
            else:
                captions.append(caption)
        if captions:
            checked.append(replace(row, captions=tuple(captions)))
    if repeated and not problems:
        warnings.warn(
            f"{where}: {len(repeated):,} captions that an image has already are ignored:\n"
            f"{format_items(repeated, LISTED)}",
            stacklevel=4,
        )
    return checked


def groups_of(rows: Iterable[Row]) -> list[Group]:
    """One group per label or, without one, per image, in the order of their first rows."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(f"label:{row.label}" if row.label else row.id, []).append(row)
    groups = []
    for id, own in members.items():
        images = dict.fromkeys(row.image for row in own)
        captions = dict.fromkeys(caption for row in own for caption in row.captions)
        groups.append(Group(id, tuple(images), tuple(captions), own[0].split, own[0].label))
    return groups
