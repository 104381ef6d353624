"""WebDataset shards: tar files of samples, such as `000.jpg`, `000.txt` and `000.json`, as img2dataset writes them.

A shard is read once from front to back for its names and captions. Images stay in it: each is a part of the file.
"""

from __future__ import annotations

import tarfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from itembed_tf.data.readers.columns import CAPTION_NAMES, find_columns
from itembed_tf.data.readers.group import IMAGE_SUFFIXES, FilePart, format_items
from itembed_tf.data.readers.rows import Row, texts_of
from itembed_tf.data.readers.source import is_caption, parse_json
from itembed_tf.git_pointer import HEAD, pointer_problem

TEXTS = ("txt", "caption", "text")
MAX_TEXT = 2**20  # bytes of a text or JSON member
BLOCK = tarfile.BLOCKSIZE
LISTED = 5  # faults in a warning
Text = tuple[int, int]  # offset and length of a member


@dataclass
class Sample:
    """The members of one sample: its first image, and its texts by ending."""

    image: FilePart | None = None
    texts: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Damage:
    """What is left out of the shards: damaged places, and samples without an image or without a caption."""

    places: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    def warn(self, where: str) -> None:
        """One warning of each kind, if there is any."""
        kinds = ((self.places, "damaged places, whose content is"), (self.incomplete, "incomplete samples, which are"))
        for items, what in kinds:
            if items:
                listed = format_items(items, LISTED)
                warnings.warn(f"{where}: {what} left out: {len(items):,}\n{listed}", stacklevel=4)


def read_tar(
    path: Path, name: str, split: str, caption_column: str, advice: str, damage: Damage, problems: list[str]
) -> list[Row]:
    """Read the samples of one shard; what is damaged in it is left out, and added to `damage`.

    Args:
        path: of the shard.
        name: of the shard, with which ids begin.
        split: of all samples.
        caption_column: the ending of the member with the caption, or the key in the JSON member; "" to find it.
        advice: ends every message.
        damage: of all shards.
        problems: samples with an invalid split or label are added.

    Raises:
        ValueError: not a tar file.
    """
    faults: list[str] = []
    samples: dict[str, Sample] = {}
    if not path.is_file():
        raise ValueError(f"{path} must be a file. {advice}")
    with path.open("rb") as file:
        for member in _members(file, path, faults):
            _add(samples, member, file, path, (*TEXTS, "json", caption_column), faults)
    if not samples:
        raise ValueError(f"{path} is not a tar file, or is empty; is the download incomplete? {advice}")
    rows = []
    for key, sample in samples.items():
        where = f"{name}/{key}"
        if sample.image is None:
            damage.incomplete.append(f"{where}: no image")
            continue
        given = _texts(where, sample, split, caption_column, path, advice, problems, faults)
        if given is None:
            damage.incomplete.append(f"{where}: no caption")
        else:
            rows.append(Row(where, where, sample.image, *given))
    damage.places.extend(f"{name}: {fault}" for fault in faults)
    return rows


def stream_samples(path: Path, caption_column: str, faults: list[str]) -> Iterator[tuple[str, Sample]]:
    """The samples of a shard with their keys, one after the other: the members of a sample must follow each other.

    Args:
        path: of the shard.
        caption_column: another ending of a text, besides `TEXTS`; "" for none.
        faults: what is damaged, and was left out, is added.

    Raises:
        ValueError: a compressed tar file, or a pointer file of Git LFS.
    """
    with path.open("rb") as file:
        samples: dict[str, Sample] = {}
        for member in _members(file, path, faults):
            _add(samples, member, file, path, (*TEXTS, "json", caption_column), faults)
            if len(samples) > 1:
                key = next(iter(samples))
                yield key, samples.pop(key)
        yield from samples.items()


def _check_start(head: bytes, path: Path) -> None:
    if problem := pointer_problem(head[:HEAD]):
        raise ValueError(f"{path} {problem}")
    if head.startswith(b"\x1f\x8b"):
        raise ValueError(f"{path} is compressed; run gunzip on it, as images are read where they are in the file")


class _Bounded:
    """A file of which no more than `MAX_TEXT` bytes are read at once: a tar header can ask for gigabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.name, self.mode = file.name, file.mode
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_TEXT:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._read(size)


def _members(file: BinaryIO, path: Path, faults: list[str]) -> Iterator[tarfile.TarInfo]:
    """The regular members of a tar file. A damaged header is skipped, up to the next valid one."""
    _check_start(file.read(BLOCK), path)
    size = file.seek(0, 2)
    file.seek(0)
    end = 0
    with suppress(tarfile.TarError, RecursionError):  # the end of the file, or of what can be read of it
        archive = tarfile.TarFile(fileobj=_Bounded(file), ignore_zeros=True)  # type: ignore[arg-type]
        while end <= size and (member := archive.next()) is not None:
            _check_gap(file, end, member.offset, faults)
            end = archive.offset
            archive.members = []  # type: ignore[attr-defined]  # the archive would keep them all
            if member.isreg() and not member.issparse() and member.offset_data + member.size <= size:
                yield member
    if end > size:
        faults.append(f"the file ends at byte {size:,}, within its last member, perhaps an incomplete copy")
    elif not _check_gap(file, end, size, faults) and size - end < BLOCK:
        faults.append(f"the file ends at byte {size:,} without the mark of an end, perhaps an incomplete copy")


def _check_gap(file: BinaryIO, start: int, stop: int, faults: list[str]) -> bool:
    """Add a fault if the bytes between two members are not the zeros that an end or a padding has."""
    file.seek(start)
    position = start
    while position < stop:
        part = file.read(min(stop - position, 2**20))
        if not part:
            break
        if part.strip(b"\0"):
            faults.append(f"{stop - start:,} bytes from byte {start:,} are no member")
            return True
        position += len(part)
    return False


def _add(
    samples: dict[str, Sample],
    member: tarfile.TarInfo,
    file: BinaryIO,
    path: Path,
    texts: tuple[str, ...],
    faults: list[str],
) -> None:
    # a name that is not UTF-8 has lone surrogates, which an id must not have
    path_in_tar = member.name.encode("utf-8", "backslashreplace").decode()
    folder, slash, name = path_in_tar.removeprefix("./").rpartition("/")
    key, _, ending = name.partition(".")
    sample = samples.setdefault(f"{folder}{slash}{key}", Sample())
    ending = ending.lower()
    if f".{ending}" in IMAGE_SUFFIXES:
        if sample.image is not None:
            faults.append(f"{member.name}: a second image of its sample")
        else:
            sample.image = FilePart(str(path), member.offset_data, member.size)
    elif ending in texts:
        file.seek(member.offset_data)
        data = file.read(member.size) if member.size <= MAX_TEXT else b""
        if len(data) == member.size:
            sample.texts.setdefault(ending, data)
        else:
            faults.append(f"{member.name}: cut, or longer than {MAX_TEXT:,} bytes")


def _texts(
    where: str,
    sample: Sample,
    split: str,
    caption_column: str,
    path: Path,
    advice: str,
    problems: list[str],
    faults: list[str],
) -> tuple[tuple[str, ...], str, str] | None:
    """Captions, split and label of a sample; None without a caption."""
    try:
        values: dict[str, Any] = parse_json(sample.texts["json"].decode("utf-8-sig")) if "json" in sample.texts else {}
        texts = {ending: sample.texts[ending].decode("utf-8-sig") for ending in sample.texts if ending in TEXTS}
    except (ValueError, UnicodeDecodeError) as error:
        faults.append(f"the caption or JSON of {where} cannot be read ({error})")
        return None
    ending = next((each for each in (caption_column, *TEXTS) if each in texts), "")
    if ending and caption_column in ("", ending):
        lines = [line.strip() for line in texts[ending].splitlines() if line.strip()] or [""]
        return (tuple(lines), split, "") if all(not line or is_caption(line) for line in lines) else None
    if not isinstance(values, dict) or not {caption_column, *CAPTION_NAMES} & values.keys():
        return None
    names = [*values, "image"]
    columns = find_columns(
        names, [], image_column="image", caption_column=caption_column, where=str(path), advice=advice
    )
    if not any(values.get(name) for name in columns.captions):
        return None  # as img2dataset writes it where a page had no text
    return texts_of(where, values, columns, split, problems)
