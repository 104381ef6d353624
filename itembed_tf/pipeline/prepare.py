"""Packing a data set into shards, with a summary of what it holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from itembed_tf.config import Config, arguments
from itembed_tf.data.packing import pack
from itembed_tf.data.readers import Group, read_dataset
from itembed_tf.data.summary import summarise
from itembed_tf.data.unreadable import drop_unreadable
from itembed_tf.files import write_atomically


def prepare(config: Config, folder: Path, *, short_side: int, quality: int, shard_pictures: int) -> dict[str, Any]:
    """Pack the data set of a config into `folder`; gives what summary.json holds."""
    dataset = config.dataset
    groups = read_dataset(**arguments(replace(dataset, shards="", merge="")))
    skipped = pack(
        groups,
        folder,
        name=dataset.name,
        split_by=dataset.split_by,
        short_side=short_side,
        quality=quality,
        shard_pictures=shard_pictures,
        max_broken_percent=config.max_broken_percent,
    )
    groups = drop_unreadable(groups, skipped, config.max_broken_percent)
    shards = sorted(folder.glob("*.tfrecord"))
    summary = {
        **summarise(groups, config),
        "pictures left out, unreadable": len(skipped),
        "MB of picture files": _megabytes(groups),
        "MB packed": round(sum(path.stat().st_size for path in shards) / 1e6, 1),
        "shards": len(shards),
    }
    write_atomically(folder / "summary.json", json.dumps({"summary": summary, "skipped": skipped}, indent=1) + "\n")
    return {"summary": summary, "skipped": skipped}


def _megabytes(groups: Sequence[Group]) -> float:
    images = [image for group in groups for image in group.images]
    sizes = (Path(i).stat().st_size if isinstance(i, str) else len(i) for i in images)
    return round(sum(sizes) / 1e6, 1)
