"""Groups -> shards: small JPEGs and their captions in TFRecord files, one shard after the other, each whole or absent.

Training reads its pictures in a new random order every epoch, so the index of a shard says where each lies, and any
one can be read alone. `itembed_tf.data.readers.shards` describes the folder, and reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from itembed_tf.data.images import shrink_image
from itembed_tf.data.readers import FilePart, Group, read_image
from itembed_tf.data.readers.shards import MANIFEST, SCHEMA, read_manifest, shard_path
from itembed_tf.data.unreadable import named_pictures, or_reason, refuse_too_many
from itembed_tf.files import checksum, write_atomically

HEADER = 12  # bytes before each record of a TFRecord file: its length and that length's CRC
FOOTER = 4  # and behind it: its CRC


def pack(
    groups: Sequence[Group],
    folder: Path,
    *,
    name: str,
    split_by: str,
    short_side: int,
    quality: int,
    shard_pictures: int,
    max_broken_percent: float,
) -> list[dict[str, str]]:
    """Write the shards that are not there yet; a stopped packing goes on by the same call.

    Args:
        groups: of any splits; their order within a split is kept.
        folder: of the shards.
        name, split_by: of the data set, to be asked for when it is read.
        short_side: pictures are shrunk to this, in pixels, never enlarged.
        quality: of the JPEGs, 1 to 100. A JPEG that is small enough already is kept as it is.
        shard_pictures: pictures after which a shard ends.
        max_broken_percent: share of all pictures that may be unreadable; they are left out.

    Returns:
        {"image", "reason"} for each picture that was left out.

    Raises:
        ValueError: the folder holds shards of other groups or settings.
        TooManyUnreadable: more pictures cannot be read than allowed.
    """
    shards = {split: _cut([g for g in groups if g.split == split], shard_pictures) for split in _splits(groups)}
    manifest = {
        "schema": SCHEMA,
        "name": name,
        "split_by": split_by,
        "short_side": short_side,
        "quality": quality,
        "shards": {split: len(parts) for split, parts in shards.items()},
        "contents": _contents(groups),
    }
    _claim(folder, manifest)
    encode = _encoder(short_side, quality)
    total, skipped = sum(len(group.images) for group in groups), []
    with tqdm(total=total, desc="packing", unit=" pictures") as bar, ThreadPoolExecutor() as pool:
        for split, parts in shards.items():
            for number, part in enumerate(parts):
                path = shard_path(folder, split, number, len(parts))
                if not path.with_suffix(".json").exists():
                    _write_shard(path, part, lambda pictures: pool.map(encode, pictures), bar)
                else:
                    bar.update(sum(len(group.images) for group in part))
                skipped += json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["skipped"]
                refuse_too_many(skipped, total, max_broken_percent)
    return skipped


def _splits(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(group.split for group in groups))


def _cut(groups: Sequence[Group], pictures: int) -> list[list[Group]]:
    parts: list[list[Group]] = [[]]
    count = 0
    for group in groups:
        if count >= pictures:
            parts.append([])
            count = 0
        parts[-1].append(group)
        count += len(group.images)
    return parts


def _contents(groups: Sequence[Group]) -> str:
    """Changes with ids, splits, captions, and the names and sizes of pictures, but not with the place of the folder."""
    parts: list[str] = []
    for group in groups:
        parts += [group.id, group.split, group.label, *group.captions, *map(str, group.caption_ids)]
        for image in group.images:
            if isinstance(image, str):
                parts.append(f"{Path(image).name} {os.path.getsize(image)}")
            else:
                parts.append(checksum(read_image(image)))
    return checksum(*parts)


def _claim(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, or make sure that the one that is there says the same."""
    if not (folder / MANIFEST).exists():
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        return
    found = read_manifest(folder)
    other = [key for key in manifest if found.get(key) != manifest[key]]
    if other:
        said = "; ".join(f"{key} was {found.get(key)!r} and is {manifest[key]!r}" for key in other)
        raise ValueError(f"{folder} holds another packing ({said}); choose another folder, or remove this one")


def _encoder(short_side: int, quality: int) -> Any:
    """A function from (name, picture) to (name, JPEG bytes or the reason why there are none)."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def shrink(data: tf.Tensor) -> tf.Tensor:
        return shrink_image(data, short_side=short_side, quality=quality)

    return or_reason(shrink)


def _write_shard(path: Path, groups: Sequence[Group], encode_all: Any, bar: tqdm) -> None:
    """The records first, under another name; then the index, whose presence says that the shard is whole."""
    temporary = path.with_suffix(".partial")  # of a killed process, written over
    entries, skipped, place = [], [], 0
    found = iter(encode_all([pair for group in groups for pair in named_pictures(group)]))
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for group in groups:
            jpegs = []
            for _ in group.images:
                name, result = next(found)
                if isinstance(result, str):
                    skipped.append({"image": name, "reason": result})
                else:
                    jpegs.append(result)
                bar.update()
            if jpegs:
                record = _record(group, jpegs)
                writer.write(record)
                parts = [FilePart(str(path), place + HEADER + record.index(jpeg), len(jpeg)) for jpeg in jpegs]
                entries.append(_entry(group, parts))
                place += HEADER + len(record) + FOOTER
    os.replace(temporary, path)
    index = {"bytes": path.stat().st_size, "groups": entries, "skipped": skipped}
    write_atomically(path.with_suffix(".json"), json.dumps(index, ensure_ascii=False) + "\n")


def _record(group: Group, jpegs: Sequence[bytes]) -> bytes:
    texts = {"id": [group.id], "split": [group.split], "label": [group.label], "captions": group.captions}
    lists: dict[str, Any] = {key: [text.encode("utf-8") for text in value] for key, value in texts.items()}
    lists["images"] = jpegs
    feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=value)) for key, value in lists.items()}
    feature["caption_ids"] = tf.train.Feature(int64_list=tf.train.Int64List(value=group.caption_ids))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def _entry(group: Group, parts: Sequence[FilePart]) -> dict[str, Any]:
    return {
        "id": group.id,
        "label": group.label,
        "captions": group.captions,
        "caption_ids": group.caption_ids,
        "images": [[part.offset, part.length] for part in parts],
    }
