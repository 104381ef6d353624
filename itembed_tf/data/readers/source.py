"""Checked reading of dataset files; every error has the file and what to do."""

from __future__ import annotations

import codecs
import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from itembed_tf.data.readers.group import Group, format_items
from itembed_tf.files import checksum
from itembed_tf.git_pointer import HEAD, pointer_problem

CHECKED = 1000  # characters by which a file that is no text is known
MAX_BYTES = 2**30  # the largest published file, Karpathy's of COCO, has some 150 million


def open_root(root: str, what: str, advice: str) -> Path:
    """Check that a dataset's folder exists.

    Raises:
        FileNotFoundError: `root` is empty or not a folder.
    """
    try:
        if root and Path(root).is_dir():
            return Path(root)
    except ValueError:  # a zero byte in the name, before Python 3.13
        pass
    raise FileNotFoundError(f"dataset.root = {root!r} is not a folder; it must be the folder of {what}. {advice}")


def find_path(folder: Path, choices: Sequence[str], what: str, advice: str) -> Path:
    """Return the first choice that exists. Choices with a final "/" must be folders, all others files.

    Raises:
        FileNotFoundError: none exists.
        ValueError: a folder instead of a file, or the reverse.
    """
    for choice in choices:
        path = folder / choice
        if path.exists():
            if path.is_dir() != choice.endswith("/"):
                raise ValueError(f"{path} must be a {'folder' if choice.endswith('/') else 'file'}. {advice}")
            return path
    named = " or ".join(choice.removesuffix("/") for choice in choices)
    raise FileNotFoundError(f"{folder}: {what} is missing; it must be {named}. {advice}")


def read_text(path: Path, advice: str) -> str:
    """Read a text file: UTF-8, or UTF-16 with a byte-order mark, as Excel and PowerShell write it; line ends are kept.

    Raises:
        ValueError: it is empty, larger than `MAX_BYTES`, not a file, a pointer of Git LFS, or in another encoding.
    """
    if not path.is_file():
        raise ValueError(f"{path} must be a file. {advice}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; the maximum is {MAX_BYTES:,}. {advice}")
    data = path.read_bytes()
    if problem := pointer_problem(data[:HEAD]):
        raise ValueError(f"{path} {problem}")
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"not UTF-{'16, which its first bytes promise,' if utf_16 else '8'} (byte {error.start})"
        raise ValueError(f"{path} is {problem}; save it again as UTF-8. {advice}") from error
    if not text.strip():
        raise ValueError(f"{path} is empty. {advice}")
    if "\0" in text[:CHECKED]:
        raise ValueError(
            f"{path} has zero bytes: it is no text, or UTF-16 without a byte-order mark; save it as UTF-8. {advice}"
        )
    if text[:CHECKED].lstrip().lower().startswith(("<!doctype html", "<html")):
        raise ValueError(f"{path} is an HTML page, perhaps one to sign in; download the file itself. {advice}")
    return text


def read_lines(path: Path, advice: str) -> list[str]:
    r"""Read the lines of a text file, without line ends (\n, \r\n or \r)."""
    return re.split("\r\n|\n|\r", read_text(path, advice).removesuffix("\n"))


def read_json(path: Path, advice: str, *, without: Sequence[str] = ()) -> Any:
    """Read a JSON file. Keys in `without` are dropped during parsing, to save memory.

    Raises:
        ValueError: as `read_text` or `parse_json`.
    """
    text = read_text(path, advice)
    try:
        return parse_json(text, without=without)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}. Is the download incomplete? {advice}") from error


def parse_json(text: str, *, without: Sequence[str] = ()) -> Any:
    """Strict `json.loads`: no NaN, duplicate keys, numbers of thousands of digits or excessive nesting.

    Raises:
        ValueError: the problem, with its position where known.
    """

    def entry(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            raise ValueError(f"an object has the key {_duplicate([key for key, _ in pairs])!r} twice")
        for key in without:
            content.pop(key, None)
        return content

    def constant(name: str) -> None:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(text, object_pairs_hook=entry, parse_constant=constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise ValueError(f"{error.msg.removesuffix(' starting at')} at {where}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise ValueError("a number of thousands of digits") from error
        raise


def _duplicate(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def is_caption(caption: object) -> bool:
    """Whether a value is text and not blank. Lone surrogates, which JSON allows, cannot be encoded as UTF-8."""
    return isinstance(caption, str) and bool(caption.strip()) and not re.search("[\ud800-\udfff]", caption)


def path_problem(image: object) -> str:
    """Describe what is wrong with an image's path, which must be relative and with "/"; "" if it is valid."""
    if not isinstance(image, str):
        return f"image is {str(image)[:60]!r}; it must be text (in quotation marks)"
    if not image:
        return "no image"
    if re.match(r"[a-z][a-z0-9+.-]+://|data:|www\.", image, re.IGNORECASE):
        return (
            f"image {image[:60]!r} is a web address; download the images and write the names of the files (img2dataset "
            "does both, and what it writes can be read)"
        )
    if "\\" in image:
        return f"image {image!r}: use / instead of \\"
    if re.search("[\x00-\x1f\ud800-\udfff]", image) or max(map(len, image.encode().split(b"/"))) > 255:
        return f"image {image[:60]!r} is not a valid file name: an invalid character, or more than 255 bytes"
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", image):
        return f"image {image!r} is outside the folder; it must be a relative path without .."
    return ""


def check_images(groups: Sequence[Group], advice: str) -> None:
    """Check that image files exist, before hours of decoding; warns if some are missing.

    `itembed_tf.data.unreadable` names and counts the missing ones later.

    Raises:
        FileNotFoundError: all of them are missing.
    """
    paths = [Path(image) for group in groups for image in group.images if isinstance(image, str)]
    names = {folder: _names(folder) for folder in {path.parent for path in paths}}
    missing = [str(path) for path in paths if path.name not in names[path.parent]]
    if paths and len(missing) == len(paths):
        raise FileNotFoundError(f"none of the {len(paths):,} images exists; the first should be {paths[0]}. {advice}")
    if missing:
        warnings.warn(
            f"{len(missing):,} of {len(paths):,} image files are missing and will be left out:\n"
            f"{format_items(missing, 5)}\n{advice}",
            stacklevel=3,
        )


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()


def warn_unless_official(path: Path, names: Sequence[str], split: str, official: str) -> None:
    """Warn if a split's image names are not those of published results; `official` is their `checksum`, sorted."""
    if checksum(*sorted(names)) != official:
        warnings.warn(
            f"{path} is not the official list of {split} ({len(names)} names); results are not comparable with "
            "published "
            "ones",
            stacklevel=3,
        )


def warn_of_caption_counts(groups: Sequence[Group], minimum: int, maximum: int, path: Path) -> None:
    """Warn of images with fewer or more captions than in the published dataset."""
    others = [f"{g.id}: {len(g.captions)}" for g in groups if not minimum <= len(g.captions) <= maximum]
    if others:
        count = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
        listed = format_items(others, 5)
        warnings.warn(f"{path}: {len(others)} images do not have {count} captions:\n{listed}", stacklevel=3)
