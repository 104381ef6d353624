"""Reader of shards, a dataset packed by `itembed prepare`; it reads the indexes alone, no image data.

A folder of shards has `shards.json`, the manifest with the settings of the packing, and for each shard a TFRecord file
of `tf.train.Example`s, one per group, and an index of the same name with the suffix .json: the groups' ids, captions
and labels, and the offset and length of each image in the TFRecord file. A shard without an index is incomplete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

from itembed_tf.data.readers.group import FilePart, Group
from itembed_tf.data.readers.source import find_path, read_json

SCHEMA = 1
MANIFEST = "shards.json"
ADVICE = "Rerun `itembed prepare`: it writes missing files"


def shard_path(folder: Path, split: str, number: int, shards: int) -> Path:
    """The TFRecord file of a shard."""
    return folder / f"{split}-{number:05d}-of-{shards:05d}.tfrecord"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest, the settings of the packing.

    Raises:
        FileNotFoundError, ValueError: it is missing, or not a manifest of this version.
    """
    path = find_path(folder, [MANIFEST], "the manifest of the shards", ADVICE)
    manifest = read_json(path, ADVICE)
    if not isinstance(manifest, dict):
        raise ValueError(f"{path} must be an object, not {short(manifest)}. {ADVICE}")
    schema = manifest.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise ValueError(
            f'{path}: "schema" must be {SCHEMA} for this version, not {short(schema)}; remove the folder and pack the '
            "dataset again with `itembed prepare`"
        )
    shards = manifest.get("shards")
    if not isinstance(shards, dict) or not all(type(number) is int and number > 0 for number in shards.values()):
        raise ValueError(f'{path}: "shards" must be the number of shards of each split, not {short(shards)}. {ADVICE}')
    return manifest


def read_shards(folder: str, *, name: str, split_by: str, splits: Sequence[str]) -> list[Group]:
    """Read the groups of the requested splits, in the order of packing.

    Args:
        folder: that `itembed prepare` wrote.
        name, split_by: required values of the manifest.
        splits: must have been packed.

    Raises:
        FileNotFoundError: the folder or a shard is missing, or a shard is incomplete.
        ValueError: another dataset or split, a split that was not packed, or a damaged file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"dataset.shards = {folder!r} is not a folder. {ADVICE}")
    manifest, path = read_manifest(root), root / MANIFEST
    for key, wanted in (("name", name), ("split_by", split_by)):
        if manifest.get(key) != wanted:
            raise ValueError(
                f"{path}: the shards have dataset.{key} = {short(manifest.get(key))}, the config has {wanted!r}; they "
                "must be equal"
            )
    missing = [split for split in splits if split not in manifest["shards"]]
    if missing:
        raise ValueError(
            f"{path}: {' and '.join(missing)} was not packed (only {', '.join(manifest['shards']) or 'no split'}); "
            "remove it from dataset.splits, or pack the dataset again with it"
        )
    groups = []
    for split in splits:
        shards = manifest["shards"][split]
        for number in range(shards):
            groups += _read_index(shard_path(root, split, number, shards), split)
    return groups


def _read_index(path: Path, split: str) -> list[Group]:
    index_path = path.with_suffix(".json")
    find_path(path.parent, [index_path.name], "the index of a shard", ADVICE)
    find_path(path.parent, [path.name], "a shard", ADVICE)
    index, size = read_json(index_path, ADVICE), path.stat().st_size
    try:
        if type(index["bytes"]) is not int or index["bytes"] != size:
            raise ValueError(
                f"{path.name} has {size:,} bytes instead of {short(index['bytes'])}, perhaps an incomplete copy"
            )
        return [_group(entry, path, size, split) for entry in _list(index["groups"])]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{index_path} does not match its shard: {_reason(error)}. Delete it. {ADVICE}") from error


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _group(entry: Any, path: Path, size: int, split: str) -> Group:
    if not isinstance(entry, dict):
        raise TypeError(f"{short(entry)} is not a group")
    images = []
    for part in map(_list, _list(entry["images"])):
        if len(part) != 2:
            raise TypeError(f"{short(part)} is not an offset and a length")
        offset, length = part
        if type(offset) is not int or type(length) is not int or not 0 <= offset <= offset + length <= size:
            raise ValueError(f"an image at offset {short(offset)} with length {short(length)} in {size:,} bytes")
        images.append(FilePart(str(path), offset, length))
    captions, numbers = tuple(map(_text, _list(entry["captions"]))), tuple(_list(entry["caption_ids"]))
    if not images or not captions:
        raise ValueError(f"{short(entry['id'])} has no {'caption' if images else 'image'}")
    if not all(type(number) is int for number in numbers) or len(numbers) not in (0, len(captions)):
        raise TypeError(f"{short(entry['id'])} has the caption_ids {short(numbers)}")
    return Group(_text(entry["id"]), tuple(images), captions, split, _text(entry["label"]), numbers)


def _text(value: Any) -> str:
    """Require text; a lone surrogate is a str that cannot be encoded as UTF-8."""
    if not isinstance(value, str) or re.search("[\ud800-\udfff]", value):
        raise TypeError(f"{short(value)} is not text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{short(value)} is not a list")
    return value
