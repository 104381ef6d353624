"""Shards: what `python -m itembed_tf.prepare` packed of a data set, read back as groups without reading a picture.

A folder of shards holds `shards.json`, the settings they were packed with, and for each shard a TFRecord file of
`tf.train.Example`s, one a group, and an index of the same name that ends in .json: the groups' ids, captions and
labels, and where in the TFRecord file each picture lies. A shard is whole where its index is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

from itembed_tf.data.readers.group import FilePart, Group
from itembed_tf.data.readers.source import find, read_json

SCHEMA = 1
MANIFEST = "shards.json"
ADVICE = "python -m itembed_tf.prepare writes it, and goes on where it was stopped"


def shard_path(folder: Path, split: str, number: int, shards: int) -> Path:
    """The TFRecord file of a shard."""
    return folder / f"{split}-{number:05d}-of-{shards:05d}.tfrecord"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The settings that the shards were packed with.

    Raises:
        FileNotFoundError, ValueError: there are none, or they are not ours.
    """
    path = find(folder, [MANIFEST], "the list of shards", ADVICE)
    manifest = read_json(path, ADVICE)
    schema = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
    if type(schema) is not int or schema != SCHEMA:
        raise ValueError(f"{path} has schema {short(schema)}, this version reads {SCHEMA}: pack the data set again")
    shards = manifest.get("shards")
    if not isinstance(shards, dict) or not all(type(number) is int and number > 0 for number in shards.values()):
        raise ValueError(f'{path}: "shards" must say how many there are of each split, not {short(shards)}. {ADVICE}')
    return manifest


def read_shards(folder: str, *, name: str, split_by: str, splits: Sequence[str]) -> list[Group]:
    """The groups of the splits asked for, in the order in which they were packed.

    Args:
        folder: that `itembed_tf.prepare` wrote.
        name, split_by: of the data set that must have been packed.
        splits: some of those that were packed.

    Raises:
        FileNotFoundError: no such folder, or a shard that is missing or not finished.
        ValueError: another data set or split, a split that was not packed, or files that are not whole.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"dataset.shards = {folder!r} is not a folder; {ADVICE}")
    manifest, path = read_manifest(root), root / MANIFEST
    for key, wanted in (("name", name), ("split_by", split_by)):
        if manifest.get(key) != wanted:
            raise ValueError(
                f"{path}: packed with dataset.{key} = {short(manifest.get(key))}, and {wanted!r} is asked for; it must "
                "be the one that was packed"
            )
    missing = [split for split in splits if split not in manifest["shards"]]
    if missing:
        raise ValueError(
            f"{path}: {', '.join(manifest['shards']) or 'no split'} was packed, not {' and '.join(missing)}: leave it "
            "out of dataset.splits, or pack the data set again with it"
        )
    groups = []
    for split in splits:
        shards = manifest["shards"][split]
        for number in range(shards):
            groups += _read_index(shard_path(root, split, number, shards), split)
    return groups


def _read_index(path: Path, split: str) -> list[Group]:
    index_path = path.with_suffix(".json")
    find(path.parent, [index_path.name], "the index of a shard", ADVICE)
    find(path.parent, [path.name], "a shard", ADVICE)
    index, size = read_json(index_path, ADVICE), path.stat().st_size
    try:
        if type(index["bytes"]) is not int or index["bytes"] != size:
            raise ValueError(f"{path.name} should have {short(index['bytes'])} bytes, and has {size:,}: copied half?")
        return [_group(entry, path, size, split) for entry in _list(index["groups"])]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{index_path} is no index of its shard: {_said(error)}. Take it away; {ADVICE}") from error


def _said(error: Exception) -> str:
    return f"{error} is left out" if isinstance(error, KeyError) else str(error)


def _group(entry: Any, path: Path, size: int, split: str) -> Group:
    if not isinstance(entry, dict):
        raise TypeError(f"{short(entry)} is no group")
    images = []
    for place in map(_list, _list(entry["images"])):
        if len(place) != 2:
            raise TypeError(f"{short(place)} is not an offset and a length")
        offset, length = place
        if type(offset) is not int or type(length) is not int or not 0 <= offset <= offset + length <= size:
            raise ValueError(f"a picture at {short(offset)}, {short(length)} long, in {size:,} bytes")
        images.append(FilePart(str(path), offset, length))
    captions, numbers = tuple(map(_text, _list(entry["captions"]))), tuple(_list(entry["caption_ids"]))
    if not images or not captions:
        raise ValueError(f"{short(entry['id'])} has no {'caption' if images else 'image'}")
    if not all(type(number) is int for number in numbers) or len(numbers) not in (0, len(captions)):
        raise TypeError(f"{short(entry['id'])} has the caption_ids {short(numbers)}")
    return Group(_text(entry["id"]), tuple(images), captions, split, _text(entry["label"]), numbers)


def _text(value: Any) -> str:
    """Half a surrogate pair is a str, and could not be written into a report."""
    if not isinstance(value, str) or re.search("[\ud800-\udfff]", value):
        raise TypeError(f"{short(value)} is no text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{short(value)} is no list")
    return value
