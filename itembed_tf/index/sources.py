"""Sources of an index: what was given to ``itembed index``, and the images and sentences that they have.

A source is listed before anything of it is read: an entry has the place and the stamp of an image, not its content.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from itembed_tf.data.readers import ImageSource
from itembed_tf.data.readers.group import IMAGE_SUFFIXES
from itembed_tf.data.readers.image_paths import image_files
from itembed_tf.data.readers.records import JSON, TABLES, TOKENS
from itembed_tf.data.readers.shards import MANIFEST
from itembed_tf.errors import UsageError, did_you_mean
from itembed_tf.index.records import Kind

TABLE_SUFFIXES = (*(suffix for suffix in TABLES if suffix != ".txt"), *JSON, *TOKENS, ".parquet")
KINDS = (
    "a folder, a glob pattern, an image, a table (.csv, .tsv, .jsonl, .json, .parquet), sentences (.txt), WebDataset "
    "shards (.tar), or the folder of `itembed prepare`"
)
TAR = ".tar"


@dataclass(frozen=True)
class Source:
    """Something that has images or sentences.

    Attributes:
        kind: "folder", "pattern", "table", "sentences", "tar", "shards" or "run".
        location: absolute path, or glob pattern.
        settings: "image_column" and "caption_column" of a table, "caption_column" of .tar shards, "splits" of a run,
            where they were given.
    """

    kind: str
    location: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def describes(self) -> bool:
        """Whether it has captions and fields, so that it describes an image better than a folder does."""
        return self.kind not in ("folder", "pattern")


@dataclass(frozen=True)
class Entry:
    """An image or a sentence of a source, before it is read.

    Attributes:
        place: see `NewItem`; unique in the index.
        kind: "image" or "text".
        stamp: size and time of the file, or a checksum of the sentence; "" for a file that is missing.
        name, folder: of the file; the folder relative to the source.
        size: bytes of the file, an estimate for a cell of a table.
        image: where the bytes of the image are; None for a sentence.
        captions: texts that describe the image; for a sentence, the sentence.
        fields: the user's columns.
        time: of the file, seconds since 1970; None where it says nothing about the image.
    """

    place: str
    kind: Kind
    stamp: str
    name: str
    folder: str = ""
    size: int = 0
    image: ImageSource | None = None
    captions: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    time: float | None = None


class Entries(Protocol):
    """The entries of a source. They may be iterated several times; files are looked at each time."""

    def __iter__(self) -> Iterator[Entry]: ...

    def __len__(self) -> int: ...


@dataclass
class Listing:
    """The entries of a source.

    Attributes:
        entries: of the source.
        problems: what of the source could not be used, one line each.
        unlisted: folders and shards that could not be read as a whole. What the index has from there is kept.
    """

    entries: Entries = ()
    problems: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FileEntries:
    """Image files by path: an entry is made, and the file looked at, when it is iterated."""

    root: str
    paths: Sequence[str]  # relative to root

    def __iter__(self) -> Iterator[Entry]:
        for path in self.paths:
            entry = file_entry(os.path.join(self.root, path), self.root)
            if entry.stamp:
                yield entry

    def __len__(self) -> int:
        return len(self.paths)


def find_source(given: str, settings: Mapping[str, str] | None = None) -> Source:
    """What an argument of ``itembed index`` is.

    Raises:
        UsageError: nothing that can be indexed; the message says what can.
    """
    path = Path(given).expanduser()
    location = os.path.abspath(path)
    if path.is_dir():
        if (path / MANIFEST).is_file():
            return Source("shards", location)
        if (path / "config.toml").is_file() and (path / "vocabulary.txt").is_file():
            return Source("run", location, settings or {})
        return Source("folder", location)
    suffix = path.suffix.lower()
    if suffix == TAR and (path.is_file() or glob.has_magic(given)):
        return Source("tar", glob.escape(location) if path.is_file() else location, settings or {})
    if path.is_file():
        if suffix in TABLE_SUFFIXES:
            return Source("table", location, settings or {})
        if suffix == ".txt":
            return Source("sentences", location, settings or {})
        if suffix in IMAGE_SUFFIXES:
            return Source("pattern", glob.escape(location))
        raise UsageError(f"{given} cannot be indexed; give {KINDS}")
    if glob.has_magic(given):
        return Source("pattern", location)
    near = [entry.name for entry in os.scandir(path.parent)] if path.parent.is_dir() else []
    raise UsageError(f"{given} does not exist{did_you_mean(path.name, near)}; give {KINDS}")


def list_source(source: Source) -> Listing:
    """The entries of a source. One that is missing or empty has none, and a line in `problems`.

    Raises:
        UserError, ValueError: a table, shards or a run that cannot be read as a whole.
    """
    if source.kind == "folder":
        listing = _list_folder(source.location)
    elif source.kind == "pattern":
        listing = _list_pattern(source.location)
    else:
        listing = _list_described(source)
    if not len(listing.entries) and not listing.problems:
        listing.problems.append(f"{source.location} has no images")
    return listing


def file_entry(path: str, root: str, captions: tuple[str, ...] = (), fields: Mapping[str, Any] | None = None) -> Entry:
    """The entry of an image file; its stamp is "" where it is missing."""
    try:
        status = os.stat(path)
        stamp, size, time = f"{status.st_size} {status.st_mtime_ns}", status.st_size, status.st_mtime
    except OSError:
        stamp, size, time = "", 0, None
    folder = os.path.dirname(os.path.relpath(path, root))
    name = os.path.basename(path)
    return Entry(path, "image", stamp, name, folder, size, path, captions, fields or {}, time)


def _list_described(source: Source) -> Listing:
    from itembed_tf.index import datasets, tables, tar_shards

    if source.kind == "tar":
        return tar_shards.list_tar(source)
    if not os.path.exists(source.location):
        return Listing(problems=[f"{source.location} does not exist: it was removed, or its disk is not mounted"])
    readers = {
        "table": tables.list_table,
        "sentences": tables.list_sentences,
        "shards": datasets.list_shards,
        "run": datasets.list_run,
    }
    return readers[source.kind](source)


def _list_folder(location: str) -> Listing:
    if not os.path.isdir(location):
        return Listing(problems=[f"{location} is not a folder: it was removed, or its disk is not mounted"])
    errors: list[OSError] = []
    paths, problems = _printable(image_files(Path(location), onerror=errors.append), location)
    problems += [f"{error.filename} cannot be read: {error.strerror}" for error in errors]
    shards = [] if paths or problems else glob.glob(f"{glob.escape(location)}/*{TAR}")
    if shards:
        problems.append(f"{location} has no images, but WebDataset shards: give '{location}/*{TAR}'")
    return Listing(FileEntries(location, paths), problems, [str(error.filename) for error in errors])


def _list_pattern(location: str) -> Listing:
    found = sorted(path for path in glob.iglob(location, recursive=True) if path.lower().endswith(IMAGE_SUFFIXES))
    root = os.path.dirname(re.split(r"[*?[]", location)[0])
    paths, problems = _printable([os.path.relpath(path, root) for path in found], root)
    if not found:
        problems.append(f"no image file matches {location}")
    return Listing(FileEntries(root, paths), problems)


def _printable(paths: Sequence[str], root: str) -> tuple[list[str], list[str]]:
    """The paths that are UTF-8, which SQLite requires, and a line for each other."""
    good, problems = [], []
    for path in paths:
        try:
            path.encode()
            good.append(path)
        except UnicodeEncodeError:
            shown = os.fsencode(os.path.join(root, path)).decode("utf-8", "backslashreplace")
            problems.append(f"{shown}: the name is not UTF-8; rename it")
    return good, problems
