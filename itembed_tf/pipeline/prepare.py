"""Packs a dataset into shards, with statistics of the dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from itembed_tf.config import Config, arguments
from itembed_tf.data.croissant import write_croissant
from itembed_tf.data.packing import pack
from itembed_tf.data.readers import (
    Group,
    ReadData,
    TableCell,
    image_size,
    known_license,
    read_data,
    read_shards,
)
from itembed_tf.data.summary import DataSummary, format_summary, summarise
from itembed_tf.data.unreadable import UnreadableImage, drop_unreadable
from itembed_tf.files import write_atomically
from itembed_tf.locks import locked_folder


@dataclass(frozen=True)
class Prepared:
    """A packed dataset.

    Attributes:
        data: what was read.
        summary: statistics of the readable groups.
        skipped: unreadable images, which were left out.
        image_megabytes: total size of the image files.
        shard_megabytes: total size of the shards.
        shards: their number.
    """

    data: ReadData
    summary: DataSummary
    skipped: list[UnreadableImage]
    image_megabytes: float
    shard_megabytes: float
    shards: int


def prepare(config: Config, folder: Path, *, short_side: int, quality: int, shard_images: int) -> Prepared:
    """Pack the dataset of a config into `folder`, and write statistics into `folder`/summary.json and
    Croissant metadata into `folder`/croissant.json.

    Raises:
        Locked: another process writes to `folder`.
        and those of `read_data` and `pack`.
    """
    with locked_folder(folder, "give another folder"):
        return _prepare(config, folder, short_side=short_side, quality=quality, shard_images=shard_images)


def _prepare(config: Config, folder: Path, *, short_side: int, quality: int, shard_images: int) -> Prepared:
    dataset = config.dataset
    data = read_data(**arguments(replace(dataset, shards="", merge="")))
    skipped = pack(
        data.groups,
        folder,
        name=dataset.name,
        split_by=dataset.split_by,
        short_side=short_side,
        quality=quality,
        shard_images=shard_images,
        max_broken_percent=config.max_broken_percent,
        max_pixels=config.max_pixels,
    )
    groups = drop_unreadable(data.groups, skipped, config.max_broken_percent)
    shards = sorted(folder.glob("*.tfrecord"))
    megabytes = round(sum(path.stat().st_size for path in shards) / 1e6, 1)
    prepared = Prepared(data, summarise(groups, config), skipped, _image_megabytes(groups), megabytes, len(shards))
    splits = list(dict.fromkeys(group.split for group in data.groups))
    write_croissant(
        folder,
        read_shards(str(folder), name=dataset.name, split_by=dataset.split_by, splits=splits),
        name=dataset.name,
        license=config.card.data_license or known_license(dataset.name),
        description=f"Images and captions of {dataset.name}; images have a short side of at most {short_side} pixels.",
    )
    content = {key: value for key, value in asdict(prepared).items() if key != "data"}
    write_atomically(folder / "summary.json", json.dumps(content, indent=1) + "\n")
    return prepared


def format_prepared(prepared: Prepared, name: str) -> str:
    """Format the statistics and sizes as a table; `name` is dataset.name."""
    more = {
        "unreadable images, left out": f"{len(prepared.skipped):,}",
        "image files, MB": f"{prepared.image_megabytes}",
        "shards, MB": f"{prepared.shard_megabytes}",
        "shards": f"{prepared.shards:,}",
    }
    return format_summary(prepared.summary, name, more)


def _image_megabytes(groups: Sequence[Group]) -> float:
    """The size of all image files; that of Parquet files as they are."""
    images = dict.fromkeys(
        image.path if isinstance(image, TableCell) else image for group in groups for image in group.images
    )
    return round(sum(map(image_size, images)) / 1e6, 1)
