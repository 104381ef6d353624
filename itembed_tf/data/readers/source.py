"""Files that others wrote: found, read whole and checked, or an error that names the file and what to do."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from itembed_tf.data.readers.group import Group, some
from itembed_tf.files import checksum

LARGEST = 2**30  # bytes; the largest of these files that is published, Karpathy's of COCO, has some 150 million


def open_root(root: str, what: str, advice: str) -> Path:
    """The data set's folder.

    Raises:
        FileNotFoundError: `root` is empty or no folder.
    """
    try:
        if root and Path(root).is_dir():
            return Path(root)
    except ValueError:  # a zero byte in the name, before Python 3.13
        pass
    raise FileNotFoundError(f"dataset.root = {root!r} is not a folder; it must be the one that holds {what}. {advice}")


def find(folder: Path, choices: Sequence[str], what: str, advice: str) -> Path:
    """The first of the paths that is there. A choice that ends in "/" must be a folder, another one a file.

    Raises:
        FileNotFoundError: none is there.
        ValueError: a folder stands where the file must be, or the other way round.
    """
    for choice in choices:
        path = folder / choice
        if path.exists():
            if path.is_dir() != choice.endswith("/"):
                raise ValueError(
                    f"{path} must be a {'folder' if choice.endswith('/') else 'file'}, and is not. {advice}"
                )
            return path
    named = " or ".join(choice.removesuffix("/") for choice in choices)
    raise FileNotFoundError(f"{folder}: {what} is missing; it must be {named} there. {advice}")


def read_text(path: Path, advice: str) -> str:
    """A whole text file, UTF-8 with or without a byte-order mark, with line ends as they are.

    Raises:
        ValueError: it is empty, larger than `LARGEST` bytes, a folder, or not UTF-8.
    """
    if not path.is_file():
        raise ValueError(f"{path} must be a file, and is not. {advice}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; no file of this kind has {LARGEST:,}. {advice}")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        how = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"not UTF-8 (byte {error.start})"
        raise ValueError(f"{path} is {how}: save it again as UTF-8. {advice}") from error
    if not text.strip():
        raise ValueError(f"{path} is empty. {advice}")
    return text


def read_lines(path: Path, advice: str) -> list[str]:
    """The lines of `read_text`, without their ends: those of Unix, Windows and old Macs, and no others."""
    return re.split("\r\n|\n|\r", read_text(path, advice).removesuffix("\n"))


def read_json(path: Path, advice: str, *, without: Sequence[str] = ()) -> Any:
    """What a JSON file holds; keys in `without` are dropped while it is read, which spares their memory.

    Raises:
        ValueError: as `read_text` or `parse_json`.
    """
    text = read_text(path, advice)
    try:
        return parse_json(text, without=without)
    except ValueError as error:
        raise ValueError(f"{path} is not whole JSON: {error}. Was the download cut short? {advice}") from error


def parse_json(text: str, *, without: Sequence[str] = ()) -> Any:
    """`json.loads`, strict: no NaN, no key given twice, no number or nesting beyond reason.

    Raises:
        ValueError: what is wrong, and where it is known.
    """

    def entry(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError(f"an object has the key {_twice([key for key, _ in pairs])!r} twice")
        for key in without:
            found.pop(key, None)
        return found

    def constant(name: str) -> None:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(text, object_pairs_hook=entry, parse_constant=constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise ValueError(f"{error.msg.removesuffix(' starting at')} at {where}") from error
    except RecursionError as error:
        raise ValueError("lists within lists without end") from error
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise ValueError("a number of thousands of digits") from error
        raise


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def is_sentence(caption: object) -> bool:
    """Text with something to read in it. Half a surrogate pair in JSON is a str, and cannot be written as UTF-8."""
    return isinstance(caption, str) and bool(caption.strip()) and not re.search("[\ud800-\udfff]", caption)


def fault_of_path(image: object) -> str:
    """What is wrong with a picture's path, relative to its folder and with "/"; "" where nothing is."""
    if not isinstance(image, str):
        return f"image is {str(image)[:60]!r}; it must be text (in quotation marks)"
    if not image:
        return "no image"
    if "\\" in image:
        return f"image {image!r}: write folders with / instead of \\"
    if re.search("[\x00-\x1f\ud800-\udfff]", image) or max(map(len, image.encode().split(b"/"))) > 255:
        return f"image {image[:60]!r} is no file name: a character that none has, or more than 255 bytes"
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", image):
        return f"image {image!r} lies outside the folder; write its path relative to it, without .."
    return ""


def check_pictures(groups: Sequence[Group], advice: str) -> None:
    """Look for the groups' files, folder by folder, before hours go into decoding them.

    Those that are missing here and there are warned of; `itembed_tf.data.unreadable` names and counts them later.

    Raises:
        FileNotFoundError: not one of the pictures is there.
    """
    paths = [Path(image) for group in groups for image in group.images if isinstance(image, str)]
    there = {folder: _names(folder) for folder in {path.parent for path in paths}}
    missing = [str(path) for path in paths if path.name not in there[path.parent]]
    if paths and len(missing) == len(paths):
        raise FileNotFoundError(
            f"None of the {len(paths):,} pictures is there; the first would be {paths[0]}. {advice}"
        )
    if missing:
        warnings.warn(
            f"{len(missing):,} of {len(paths):,} pictures have no file, and training will be without them:\n"
            f"{some(missing, 5)}\n{advice}",
            stacklevel=3,
        )


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()


def warn_unless_official(path: Path, names: Sequence[str], split: str, official: str) -> None:
    """Warn where a split's picture names are not those that results are published on (`checksum` of them, sorted)."""
    if checksum(*sorted(names)) != official:
        warnings.warn(
            f"{path} is not the official list of {split} ({len(names)} names, or others): "
            "results cannot be compared with published ones",
            stacklevel=3,
        )


def warn_of_captions(groups: Sequence[Group], least: int, most: int, path: Path) -> None:
    """Warn of pictures with fewer or more captions than the published data set gives them."""
    odd = [f"{group.id}: {len(group.captions)}" for group in groups if not least <= len(group.captions) <= most]
    if odd:
        count = f"{least}" if least == most else f"{least} to {most}"
        warnings.warn(f"{path}: {len(odd)} pictures do not have {count} captions:\n{some(odd, 5)}", stacklevel=3)
