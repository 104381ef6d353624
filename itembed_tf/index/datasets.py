"""Datasets as sources of an index: shards, the dataset of a run, groups in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from itembed_tf.data.readers import FilePart, Group
from itembed_tf.data.readers.shards import read_manifest, read_shards
from itembed_tf.files import checksum
from itembed_tf.index.sources import Entry, Listing, Source, file_entry


def list_shards(source: Source) -> Listing:
    """The images of a folder that `itembed prepare` wrote, all splits."""
    manifest = read_manifest(Path(source.location))
    splits = list(manifest["shards"])
    groups = read_shards(source.location, name=manifest["name"], split_by=manifest["split_by"], splits=splits)
    return Listing(group_entries(groups, source.location))


def list_run(source: Source) -> Listing:
    """The images of the dataset of a run; "splits" in the settings of the source names others than its own."""
    from itembed_tf.config import arguments
    from itembed_tf.data.readers import read_dataset
    from itembed_tf.program import run_config

    dataset = run_config(source.location).dataset
    splits = source.settings.get("splits", "").split(",") if source.settings.get("splits") else dataset.splits
    groups = read_dataset(**{**arguments(dataset), "splits": tuple(splits)})
    return Listing(group_entries(groups, dataset.root or dataset.name))


def group_entries(groups: Sequence[Group], root: str) -> list[Entry]:
    """An entry for every image of the groups of a dataset, with its captions.

    Args:
        groups: as readers give them.
        root: folder of the dataset; for images in memory, what their places begin with.
    """
    entries = []
    for group in groups:
        captions = tuple(dict.fromkeys(group.captions))
        fields = {"id": group.id, "split": group.split} | ({"label": group.label} if group.label else {})
        for number, image in enumerate(group.images):
            if isinstance(image, str):
                entries.append(file_entry(os.path.abspath(image), os.path.abspath(root), captions, fields))
                continue
            name = group.id if len(group.images) == 1 else f"{group.id}, image {number + 1}"
            if isinstance(image, bytes):
                place, stamp, size = f"{root}#{name}", checksum(image), len(image)
            else:
                status = os.stat(image.path)
                where = image.offset if isinstance(image, FilePart) else f"{image.row_group}.{image.row}"
                place, stamp = f"{os.path.abspath(image.path)}#{where}", f"{status.st_size} {status.st_mtime_ns}"
                size = image.length if isinstance(image, FilePart) else 0
            entries.append(Entry(place, "image", stamp, name, "", size, image, captions, fields))
    return entries
