"""Packing: writes a dataset as shards, TFRecord files of small JPEGs with their captions, resumably.

Training reads images in a new random order every epoch, so the index of a shard has each image's offset and length.
`itembed_tf.data.readers.shards` describes the folder, and reads it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from itembed_tf.data.images import shrink_image
from itembed_tf.data.readers import FilePart, Group, TableCell, image_size
from itembed_tf.data.readers.shards import MANIFEST, SCHEMA, read_manifest, shard_path
from itembed_tf.data.unreadable import NamedImage, UnreadableImage, named_images, or_unreadable, refuse_too_many
from itembed_tf.files import checksum, replacing, write_atomically

HEADER = 12  # bytes before each record of a TFRecord file: its length, and the CRC of the length
FOOTER = 4  # bytes after it: its CRC


def pack(
    groups: Sequence[Group],
    folder: Path,
    *,
    name: str,
    split_by: str,
    short_side: int,
    quality: int,
    shard_images: int,
    max_broken_percent: float,
    max_pixels: int,
) -> list[UnreadableImage]:
    """Write the missing shards; after an interruption, the same call continues.

    Args:
        groups: of any splits; their order within a split is kept.
        folder: of the shards.
        name, split_by: the dataset settings with which the shards will be read.
        short_side: maximum length of an image's short side in pixels; larger images are shrunk.
        quality: JPEG quality, 1 to 100. A JPEG within short_side is copied unchanged.
        shard_images: images per shard; a group is never divided.
        max_broken_percent: maximum percentage of unreadable images, which are left out.
        max_pixels: of an image, by its header; larger ones are unreadable.

    Returns:
        The images that were left out.

    Raises:
        ValueError: the folder has shards of other groups or settings.
        TooManyUnreadable: more images are unreadable than allowed.
    """
    splits = dict.fromkeys(group.split for group in groups)
    shards = {split: _divide([g for g in groups if g.split == split], shard_images) for split in splits}
    manifest = {
        "schema": SCHEMA,
        "name": name,
        "split_by": split_by,
        "short_side": short_side,
        "quality": quality,
        "shards": {split: len(parts) for split, parts in shards.items()},
        "contents": _contents(groups),
    }
    _write_manifest(folder, manifest)
    encode = _encoder(short_side, quality, max_pixels)
    total, skipped = sum(len(group.images) for group in groups), list[UnreadableImage]()
    with tqdm(total=total, desc="packing", unit=" images") as bar, ThreadPoolExecutor() as pool:
        for split, parts in shards.items():
            for number, part in enumerate(parts):
                path = shard_path(folder, split, number, len(parts))
                without = _skipped(path)
                if without is None:
                    without = _write_shard(path, part, lambda images: pool.map(encode, images), bar)
                else:
                    bar.update(sum(len(group.images) for group in part))
                skipped += without
                refuse_too_many(skipped, total, max_broken_percent)
    return skipped


def _skipped(path: Path) -> list[UnreadableImage] | None:
    """The images that a shard left out; None if it is incomplete or damaged, and must be written."""
    try:
        index = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if path.stat().st_size == index["bytes"]:
            return [UnreadableImage(**entry) for entry in index["skipped"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass
    warnings.warn(f"the shard {path} or its index is damaged; it is written again", stacklevel=3)
    return None


def _divide(groups: Sequence[Group], shard_images: int) -> list[list[Group]]:
    parts: list[list[Group]] = [[]]
    count = 0
    for group in groups:
        if count >= shard_images:
            parts.append([])
            count = 0
        parts[-1].append(group)
        count += len(group.images)
    return parts


def _contents(groups: Sequence[Group]) -> str:
    """Checksum of ids, splits, captions, and names and sizes of image files, whatever folder these are in.

    A missing file has no size; `_write_shard` names it.
    """
    parts: list[str] = []
    for group in groups:
        parts += [group.id, group.split, group.label, *group.captions, *map(str, group.caption_ids)]
        for image in group.images:
            parts.append(checksum(image) if isinstance(image, bytes) else _name_and_size(image))
    return checksum(*parts)


def _name_and_size(image: str | FilePart | TableCell) -> str:
    path, *place = (image,) if isinstance(image, str) else image
    try:
        size = image_size(image)
    except OSError:
        size = 0
    return " ".join(map(str, [Path(path).name, size, *place]))


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, or check that an existing one is equal."""
    if not (folder / MANIFEST).exists():
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        return
    existing = read_manifest(folder)
    different = [key for key in manifest if existing.get(key) != manifest[key]]
    if different:
        changes = "; ".join(f"{key} was {existing.get(key)!r} and is {manifest[key]!r}" for key in different)
        raise ValueError(
            f"{folder} has shards of another dataset or other settings ({changes}); choose another folder, or remove "
            "this one"
        )


def _encoder(short_side: int, quality: int, max_pixels: int) -> Callable[[NamedImage], Any]:
    """A function from a named image to JPEG bytes, or UnreadableImage."""
    return or_unreadable(_shrinker(short_side, quality), max_pixels)


@cache
def _shrinker(short_side: int, quality: int) -> Any:
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def shrink(data: tf.Tensor) -> tf.Tensor:
        return shrink_image(data, short_side=short_side, quality=quality)

    return shrink


def _write_shard(path: Path, groups: Sequence[Group], encode_all: Any, bar: tqdm) -> list[UnreadableImage]:
    """Write the records under a temporary name, then the index: a shard with an index is complete.

    Returns:
        The images that were left out.
    """
    entries, skipped, offset = [], list[UnreadableImage](), 0
    results = iter(encode_all([pair for group in groups for pair in named_images(group)]))
    with replacing(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for group in groups:
            jpegs = []
            for _ in group.images:
                result = next(results)
                if isinstance(result, UnreadableImage):
                    skipped.append(result)
                else:
                    jpegs.append(result)
                bar.update()
            if jpegs:
                record = _record(group, jpegs)
                writer.write(record)
                parts = [FilePart(str(path), offset + HEADER + record.index(jpeg), len(jpeg)) for jpeg in jpegs]
                entries.append(_entry(group, parts))
                offset += HEADER + len(record) + FOOTER
    index = {"bytes": path.stat().st_size, "groups": entries, "skipped": [asdict(each) for each in skipped]}
    write_atomically(path.with_suffix(".json"), json.dumps(index, ensure_ascii=False) + "\n")
    return skipped


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
