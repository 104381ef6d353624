"""Finds the image files that a caption file names, although the names come from another machine or differ a little."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import takewhile
from pathlib import Path, PurePosixPath

from itembed_tf.data.readers.group import IMAGE_SUFFIXES, format_items
from itembed_tf.data.readers.source import path_problem

LISTED = 5  # names in a warning
COMPARED = 20_000  # files of a folder among which the nearest name is looked for


@dataclass(frozen=True)
class ResolvedImages:
    """Where image paths lead.

    Attributes:
        files: path in the caption file -> path in the image folder, with "/"; also where that file is missing.
        problems: path -> why it leads nowhere: an absolute path without a file.
        warnings: what was taken for what, and which files are missing.
    """

    files: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def check_path(value: object) -> tuple[str, str]:
    """An image's path with "/", and what is wrong with it; it may be absolute, as on the machine that wrote it."""
    if isinstance(value, str):
        return _check_text(value)
    return "", "no image" if value is None else path_problem(value)


@lru_cache(maxsize=1000)  # the rows of one image follow each other
def _check_text(value: str) -> tuple[str, str]:
    value = value.strip()
    if "://" in value or not value:
        return "", path_problem(value)
    path = str(PurePosixPath(value.replace("\\", "/")))
    return path, path_problem(re.sub(r"^([A-Za-z]:)?/*(\.\./)*", "", path))


def _is_relative(path: str) -> bool:
    return not re.match(r"/|\.\./|[A-Za-z]:", path)


class ImageFiles:
    """The files of a folder, listed once and only when they are needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, set[str]] = {}
        self._by_stem: dict[str, dict[str, list[str]]] = {}

    def exists(self, path: str) -> bool:
        """Whether a path of the folder is a file or a folder."""
        directory, _, name = path.rpartition("/")
        return name in self.names(directory)

    def is_image(self, path: str) -> bool:
        """Whether a path of the folder is a file with the ending of an image."""
        return path.lower().endswith(IMAGE_SUFFIXES) and self.exists(path)

    def names(self, directory: str) -> set[str]:
        """The names in a directory of the folder."""
        if directory not in self._names:
            path = self.folder / directory
            self._names[directory] = {entry.name for entry in os.scandir(path)} if path.is_dir() else set()
        return self._names[directory]

    def spelled(self, path: str) -> list[str]:
        """The images beside `path` whose names differ from it only in case or, if none does, in the ending."""
        directory, _, name = path.rpartition("/")
        alike = self._stems(directory).get(_stem(name), [])
        same = [each for each in alike if _plain(each) == _plain(name)]
        return [f"{directory}/{each}" if directory else each for each in same or alike]

    def ending_with(self, path: str) -> list[str]:
        """The images anywhere in the folder whose path ends with `path`; else those that differ only in spelling."""
        rest = f"/{path}"
        alike = self._tree.get(_stem(path.rpartition("/")[2]), [])
        exact = [each for each in alike if f"/{each}".endswith(rest)]
        return exact or [each for each in alike if f"/{_stem(each)}".endswith(_stem(rest))]

    def nearest(self, path: str) -> str:
        """The file beside `path` whose name is most like it; "" if none is."""
        directory, _, name = path.rpartition("/")
        names = self.names(directory)
        near = difflib.get_close_matches(name, names, 1) if len(names) <= COMPARED else []
        return near[0] if near else ""

    def _stems(self, directory: str) -> dict[str, list[str]]:
        if directory not in self._by_stem:
            stems: dict[str, list[str]] = {}
            for name in sorted(self.names(directory)):
                if name.lower().endswith(IMAGE_SUFFIXES):
                    stems.setdefault(_stem(name), []).append(name)
            self._by_stem[directory] = stems
        return self._by_stem[directory]

    @cached_property
    def _tree(self) -> dict[str, list[str]]:
        tree: dict[str, list[str]] = {}
        for path in image_files(self.folder):
            tree.setdefault(_stem(path.rpartition("/")[2]), []).append(path)
        return tree


def image_files(folder: Path, *, onerror: Callable[[OSError], None] | None = None) -> list[str]:
    """The paths of all image files in a folder, with "/" and sorted; hidden files and folders are left out.

    Args:
        folder: with its folders, but without those that are symbolic links.
        onerror: called for every folder that cannot be listed; without it they count as empty.
    """
    found = []
    for place, folders, files in os.walk(folder, onerror=onerror):
        folders[:] = [name for name in folders if not name.startswith(".")]
        start = Path(place).relative_to(folder).as_posix()
        images = (name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
        found += [name if start == "." else f"{start}/{name}" for name in images]
    return sorted(found)


def _stem(name: str) -> str:
    """A name as `_plain` writes it, without the ending of an image file."""
    name = _plain(name)
    return next((name.removesuffix(suffix) for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), name)


def _plain(name: str) -> str:
    """A name in lower case, with é as one character; macOS writes it as two."""
    return unicodedata.normalize("NFC", name).lower()


def resolve_images(paths: Sequence[str], files: ImageFiles, where: str) -> ResolvedImages:
    """Find the files of the paths in a caption file.

    A path is first taken as it is. If no relative path is a file, and for paths that are absolute or begin with ``..``,
    the files are looked for in the folder, nowhere else, by the longest end of their paths after a beginning that all
    of these have. A single name that is no file may differ from its file in case or ending.

    Args:
        paths: of `check_path`.
        files: of the folder that they are relative to.
        where: the caption file, for messages.
    """
    resolved = ResolvedImages()
    own = f"{files.folder.absolute().as_posix()}/"
    inside = {path: path.removeprefix(own) for path in paths}
    relative = [path for path, short in inside.items() if _is_relative(short)]
    absolute = [path for path, short in inside.items() if not _is_relative(short)]
    resolved.files.update((path, inside[path]) for path in relative)
    missing = [path for path in relative if not files.exists(inside[path])]
    if missing and len(missing) == len(relative):
        missing = _resolve_moved(missing, files, where, resolved)
    missing += _resolve_moved(absolute, files, where, resolved)
    _resolve_spelling([path for path in missing if path in resolved.files], len(paths), files, where, resolved)
    lost = [path for path in absolute if path not in resolved.files]
    beginning = "/".join([*_common_folders(lost), ""]) if lost else ""
    for path in lost:
        resolved.problems[path] = (
            f"image {path!r} is an absolute path of another machine, or outside the folder {files.folder}; set "
            f"dataset.images to the folder that has the images, or remove {beginning!r}, with which these paths begin"
        )
    return resolved


def _common_folders(paths: Sequence[str]) -> list[str]:
    """The first folders, which all paths have."""
    folders = [path.split("/")[:-1] for path in paths]
    return [a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(min(folders), max(folders)))]


def _resolve_moved(paths: Sequence[str], files: ImageFiles, where: str, resolved: ResolvedImages) -> list[str]:
    """Look for all paths without the same first folders, as few as possible; returns those that are not found."""
    if not paths:
        return []
    for count in range(len(_common_folders(paths)) + 1):
        rests = {path: re.sub(r"^(\.?\.?/)+", "", "/".join(path.split("/")[count:])) for path in paths}
        found = {path: ends[0] for path, rest in rests.items() if len(ends := files.ending_with(rest)) == 1}
        if found:
            first, file = next(iter(found.items()))
            base = file.removesuffix(rests[first]) if file.endswith(rests[first]) else ""
            resolved.files.update({path: f"{base}{rest}" for path, rest in rests.items()} | found)
            prefix = first.removesuffix(rests[first])
            how = (
                f"read without {prefix!r}, which is no folder here" if prefix else "found under another name or folder"
            )
            resolved.warnings.append(
                f"{where}: {len(found):,} image paths are {how}: {first!r} is {str(files.folder / file)!r}"
            )
            return [path for path in paths if path not in found]
    return list(paths)


def _resolve_spelling(
    paths: Sequence[str], total: int, files: ImageFiles, where: str, resolved: ResolvedImages
) -> None:
    renamed, missing = [], []
    for path in paths:
        fits = files.spelled(resolved.files[path])
        if len(fits) == 1:
            resolved.files[path] = fits[0]
            renamed.append(f"{path!r} is {fits[0]}")
        else:
            missing.append((path, fits))
    if renamed:
        resolved.warnings.append(
            f"{where}: {len(renamed):,} names differ from those of their image files only in case or ending, and are "
            f"read all the same:\n{format_items(renamed, LISTED)}"
        )
    if missing:
        listed = [_missing(path, resolved.files[path], fits, files) for path, fits in missing[:LISTED]]
        listed += [f"... and {len(missing) - LISTED:,} more"] if len(missing) > LISTED else []
        resolved.warnings.append(
            f"{where}: {len(missing):,} of {total:,} image files are missing in {files.folder} and will be left out "
            f"(dataset.images is the folder of the images):\n{format_items(listed, LISTED + 1)}"
        )


def _missing(path: str, file: str, fits: Sequence[str], files: ImageFiles) -> str:
    fits = fits or files.ending_with(path)[:LISTED]
    if fits:
        return f"{path!r} (could be {' or '.join(fits)})"
    near = files.nearest(file)
    return f"{path!r} (the nearest name is {near!r})" if near else repr(path)
