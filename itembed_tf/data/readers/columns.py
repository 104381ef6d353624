"""Columns of image, caption, split and label, found by the names that they have in public files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itembed_tf.data.readers.group import IMAGE_SUFFIXES

# In order of preference; case, spaces, "_" and "-" do not matter.
IMAGE_NAMES = (
    *("image", "image path", "file name", "file path", "file", "image name", "image file", "image file name"),
    *(
        "img",
        "img path",
        "img name",
        "img file",
        "img file name",
        "path",
        "photo",
        "picture",
        "image id",
        "image url",
        "url",
    ),
)
CAPTION_NAMES = (
    *("caption", "captions", "text", "texts", "prompt", "comment", "comments", "description", "descriptions"),
    *("sentence", "sentences", "image caption", "caption text", "image description", "raw", "raw caption"),
    *("alt text", "alt", "title", "txt", "caption str", "query", "utterance"),
)
BYTES_NAMES = ("jpg", "jpeg", "png", "webp", "image bytes", "bytes", "content")  # of the image's file, in Parquet
SHOWN = 30  # columns in a message


@dataclass(frozen=True)
class Columns:
    """Names of columns as the file spells them; `split` and `label` are "" where there are none."""

    image: str
    captions: tuple[str, ...]
    split: str
    label: str

    def others(self, names: Sequence[str]) -> list[str]:
        """The columns that are not read."""
        used = {self.image, *self.captions, self.split, self.label}
        return [name for name in names if name and name not in used]


def find_columns(
    names: Sequence[str],
    examples: Sequence[Mapping[str, Any]],
    *,
    image_column: str,
    caption_column: str,
    where: str,
    advice: str,
) -> Columns:
    """Choose the columns that are read: by the settings, by their names, or by what is in them.

    Args:
        names: of all columns.
        examples: some records: a column of names of image files is that of the image, whatever its name.
        image_column, caption_column: settings; "" to find the column.
        where: the file, for messages.
        advice: ends every message.

    Raises:
        ValueError: no column, or no single one, for the image or the caption.
    """
    check_header(names, where, advice)
    image = image_column or image_column_of(names, examples)
    image = _only(image, names, "image", where, advice)
    captions = [_only(caption_column, names, "caption", where, advice)] if caption_column else _captions(names)
    split, label = _first(names, ("split",)), _first(names, ("label",))
    rest = [name for name in names if name and name not in (image, split, label)]
    captions = captions or (rest if len(rest) == 1 else [_only("", names, "caption", where, advice)])
    split, label = ("" if name in (image, *captions) else name for name in (split, label))
    columns = Columns(image, tuple(captions), split, label)
    repeated = [each for each in (image, *captions, split, label) if each and list(names).count(each) > 1]
    if repeated:
        raise ValueError(f"{where}: the column {repeated[0]!r} is there twice; remove or rename one of them. {advice}")
    return columns


def check_header(names: Sequence[str], where: str, advice: str) -> None:
    """Refuse a table without column names: its first line names an image file.

    Raises:
        ValueError: it does.
    """
    if any(name.strip().lower().endswith(IMAGE_SUFFIXES) for name in names):
        raise ValueError(
            f"{where}: the first line is {_listed(names)}, an image and no column names; add a first line such as "
            f"image,caption. {advice}"
        )


def image_column_of(names: Sequence[str], examples: Sequence[Mapping[str, Any]]) -> str:
    """The column of the images, by its name or by the values of `examples`; "" if none is known to be."""
    return _first(names, IMAGE_NAMES) or _of_files(names, examples)


def caption_columns_of(names: Sequence[str]) -> list[str]:
    """The columns of the captions, by their names; empty if none is known to be one."""
    return _captions(names)


def is_header(line: str) -> bool:
    """Whether a line of text is the header of a table with an image and a caption."""
    return any(
        _first(names, IMAGE_NAMES) and _captions(names)
        for names in (line.split(each) for each in (",", "\t", ";", "|"))
    )


def _of_files(names: Sequence[str], examples: Sequence[Mapping[str, Any]]) -> str:
    """The only column that has nothing but names of image files; "" if there is none."""
    found = []
    for name in names:
        values = [record[name] for record in examples if record.get(name)]
        if values and all(isinstance(each, str) and each.strip().lower().endswith(IMAGE_SUFFIXES) for each in values):
            found.append(name)
    return found[0] if len(found) == 1 else ""


def _captions(names: Sequence[str]) -> list[str]:
    """The caption column; with ``caption_1``, ``caption_2``, ... and with both ``caption`` and ``captions``, all."""
    for known in CAPTION_NAMES:
        key = _key(known)
        found = [name for name in names if re.fullmatch(rf"{key}\d*", _key(name))]
        if found and key == "caption":
            found += [name for name in names if _key(name) == "captions"]
        if found:
            return list(dict.fromkeys(found))
    return []


def _first(names: Sequence[str], known: Sequence[str]) -> str:
    keys = {_key(name): name for name in reversed(names)}
    return next((keys[_key(each)] for each in known if _key(each) in keys), "")


def _only(chosen: str, names: Sequence[str], what: str, where: str, advice: str) -> str:
    """`chosen` as the file spells it."""
    found = [name for name in names if name == chosen] or [name for name in names if _key(name) == _key(chosen)]
    if chosen and found:
        return found[0]
    missing = f"has no column {chosen!r}" if chosen else f"no column is known to hold the {what}"
    raise ValueError(
        f"{where}: {missing}; the columns are {_listed(names)}. Set dataset.{what}_column to one of them, or "
        f"name it {what}. {advice}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:60]) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def ignored_columns(where: str, columns: Columns, names: Sequence[str]) -> str:
    """The warning that columns are not read; "" if all are."""
    others = columns.others(names)
    if not others:
        return ""
    read = f"images are read from {columns.image!r}, captions from {', '.join(map(repr, columns.captions))}"
    return (
        f"{where}: {read}; ignored columns (dataset.image_column and dataset.caption_column choose others):\n"
        f"  {_listed(others)}"
    )
