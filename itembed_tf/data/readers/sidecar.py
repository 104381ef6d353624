"""Captions in a text file beside each image: `a.jpg` and `a.txt`, with one caption a line."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from itembed_tf.data.readers.group import format_items
from itembed_tf.data.readers.image_paths import ImageFiles
from itembed_tf.data.readers.rows import Row
from itembed_tf.data.readers.source import is_caption, path_problem, read_lines

SUFFIXES = (".txt", ".caption")
LISTED = 5  # names in a warning


def has_sidecars(folder: Path, files: ImageFiles) -> bool:
    """Whether some text file in a folder has the name of an image."""
    return any(_image_of(path, files, folder) for path in _texts(folder))


def read_sidecars(folder: Path, files: ImageFiles, advice: str, problems: list[str]) -> list[Row]:
    """Read a row per image that has a text file of its name: beside it, or anywhere if only one image has that name.

    Args:
        folder: of the text files.
        files: of the folder of the images.
        advice: ends every message.
        problems: text files that cannot be read are added.
    """
    rows, alone = [], []
    for path in _texts(folder):
        image = _image_of(path, files, folder)
        if not image:
            alone.append(path)
            continue
        if problem := path_problem(image):
            problems.append(f"{path!a}: {problem}")
            continue
        own = _captions(folder / path, advice, problems)
        if any(caption and not is_caption(caption) for caption in own):
            problems.append(f"{path}: a caption that is not valid text")
        inside = files.folder.is_relative_to(folder)
        id = (files.folder.relative_to(folder) / image).as_posix() if inside else image
        rows.append(Row(path, id, str(files.folder / image), tuple(own), "", ""))
    captions = [caption for row in rows for caption in row.captions if caption]
    if captions and not any(re.search(r"[^\W\d_]", caption) for caption in captions):
        problems.append(f"{rows[0].where}: neither this nor any other text file has a letter; are they boxes of YOLO?")
    if alone and rows:
        listed = format_items(alone, LISTED)
        warnings.warn(
            f"{folder}: {len(alone):,} text files have the name of no single image and are ignored:\n{listed}",
            stacklevel=4,
        )
    return rows


def _captions(path: Path, advice: str, problems: list[str]) -> list[str]:
    if path.stat().st_size < 1000 and not path.read_bytes().strip():
        return [""]  # an empty caption, which the reader of the dataset reports
    try:
        return [line.strip() for line in read_lines(path, advice) if line.strip()]
    except ValueError as error:
        problems.append(f"{path.name}: {error}")
        return [""]


def _texts(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        start = Path(place).relative_to(folder)
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield (start / name).as_posix()


def _image_of(text: str, files: ImageFiles, folder: Path) -> str:
    """The image of a text file, `a.txt` or `a.jpg.txt`; "" if there is none, or no single one."""
    name = text[: text.rindex(".")]
    beside = [name] if files.is_image(name) else files.spelled(name)
    found = beside or files.ending_with(name) or files.ending_with(name.rpartition("/")[2])
    return found[0] if len(found) == 1 else ""
