"""WebDataset shards (.tar) as sources of an index: one entry for each sample, read from the shard when it is iterated.

Images stay in the shard, of which each is a part; nothing is unpacked. Text members are captions, a JSON member has
captions and fields.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itembed_tf.data.readers.columns import caption_columns_of
from itembed_tf.data.readers.group import MAX_BYTES
from itembed_tf.data.readers.source import is_caption, parse_json
from itembed_tf.data.readers.webdataset import TEXTS, Sample, stream_samples
from itembed_tf.index.sources import Entry, Listing, Source
from itembed_tf.index.tables import captions_of, fields_of

MAX_KEY = 1_000  # characters of the name of a sample
LISTED = 10  # problems of a shard


@dataclass(frozen=True)
class TarEntries:
    """The images of shards. A shard is read from front to back whenever it is iterated; one sample is in memory."""

    shards: tuple[tuple[str, int], ...]  # path, and number of images
    caption_column: str

    def __iter__(self) -> Iterator[Entry]:
        for path, count in self.shards:
            if count:
                yield from _entries(path, self.caption_column, [])

    def __len__(self) -> int:
        return sum(count for _, count in self.shards)


def list_tar(source: Source) -> Listing:
    """The samples with an image of a shard, or of all shards that match a pattern."""
    caption_column = source.settings.get("caption_column", "")
    shards: list[tuple[str, int]] = []
    listing = Listing()
    found = sorted(glob.iglob(source.location, recursive=True))
    for path in found:
        problems: list[str] = []
        try:
            count = sum(1 for _ in _entries(path, caption_column, problems))
            if not count:
                problems.append("it has no sample with an image, or is not a tar file")
        except (ValueError, OSError) as error:
            count, problems = 0, [str(error).removeprefix(f"{path} ")]
        shards.append((path, count))
        if problems:  # a part of the shard may be missing: what the index has from it is kept
            listing.unlisted.append(path)
            more = len(problems) - LISTED
            listing.problems += [f"{path}: {problem}" for problem in problems[:LISTED]]
            listing.problems += [f"{path}: ... and {more:,} more problems"] if more > 0 else []
    if not found:
        listing.problems.append(f"no shard matches {source.location}: none was made, or its disk is not mounted")
    listing.entries = TarEntries(tuple(shards), caption_column)
    return listing


def _entries(path: str, caption_column: str, problems: list[str]) -> Iterator[Entry]:
    status = os.stat(path)
    stamp, shard = f"{status.st_size} {status.st_mtime_ns}", os.path.basename(path)
    seen: set[int] = set()  # hashes of keys
    for key, sample in stream_samples(Path(path), caption_column, problems):
        image = sample.image
        if image is None:
            continue
        if len(key) > MAX_KEY or "\0" in key:
            problems.append(f"a name of {len(key):,} characters, {key[:40]!r} ...; the maximum is {MAX_KEY:,}")
        elif image.length > MAX_BYTES:
            problems.append(f"{key}: an image of {image.length:,} bytes; the maximum is {MAX_BYTES:,}")
        elif hash(key) in seen:
            problems.append(f"{key}: a second sample of this name; the members of a sample must follow each other")
        else:
            seen.add(hash(key))
            captions, fields = _description(key, sample, caption_column, problems)
            folder, _, name = key.rpartition("/")
            place = f"{path}#{key}"
            where = f"{shard}/{folder}".rstrip("/")
            yield Entry(place, "image", stamp, name, where, image.length, image, captions, fields)
        del problems[LISTED + 10_000 :]  # a shard of nothing but faults must not fill the memory


def _description(
    key: str, sample: Sample, caption_column: str, problems: list[str]
) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Captions and fields of a sample; what cannot be read of them is left out, and added to `problems`."""
    values: dict[str, Any] = {}
    captions: Sequence[str] = ()
    try:
        if "json" in sample.texts:
            content = parse_json(sample.texts["json"].decode("utf-8-sig"))
            values = content if isinstance(content, dict) else {}
        ending = next((each for each in (caption_column, *TEXTS) if each in sample.texts and each != "json"), "")
        if ending and caption_column in ("", ending):
            captions = [line.strip() for line in sample.texts[ending].decode("utf-8-sig").splitlines()]
    except ValueError as error:  # also of an encoding
        problems.append(f"{key}: its text or JSON cannot be read ({error})")
    columns = [caption_column] if caption_column in values else caption_columns_of(list(values))
    captions = [line for line in captions if is_caption(line)] or captions_of(values, columns)
    others = [name for name in values if name not in columns and is_caption(name)]
    return tuple(dict.fromkeys(captions)), fields_of(values, others)
