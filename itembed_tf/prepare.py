"""Program: a data set -> shards of small JPEGs with their captions, which training reads faster, and what it holds.

    python -m itembed_tf.prepare configs/coco.toml shards/coco --set dataset.root=/where/COCO/lies
    python -m itembed_tf.train configs/coco.toml --set dataset.shards=shards/coco

Pictures are shrunk to a short side of 256 pixels, as the paper stores them. All splits of dataset.splits are packed. A
packing that was stopped, even killed, goes on when the same command is given again. dataset.merge is not applied:
training applies it to what it reads.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from itembed_tf.broken import TooManyBroken, drop_broken
from itembed_tf.config import Config, ConfigError, arguments, config_parser, named_config
from itembed_tf.data_summary import format_summary, summarise
from itembed_tf.datasets import Group, read_dataset
from itembed_tf.datasets.group import SPLITS
from itembed_tf.files import write_atomically
from itembed_tf.pack import pack


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
    groups = drop_broken(groups, skipped, config.max_broken_percent)
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


def main(argv: Sequence[str] | None = None) -> int:
    writes = "folder of the shards (default: runs/<name of the config>-shards)"
    parser = config_parser("itembed_tf.prepare", __doc__, writes=writes)
    parser.add_argument("--short-side", type=int, default=256, metavar="PIXELS", help="pictures are shrunk to it")
    parser.add_argument("--quality", type=int, default=95, metavar="1-100", help="of the JPEGs that are written")
    parser.add_argument("--shard-pictures", type=int, default=4096, metavar="N", help="pictures a shard")
    args = parser.parse_args(argv)
    if args.short_side < 32 or not 1 <= args.quality <= 100 or args.shard_pictures < 1:
        parser.error("--short-side is at least 32, --quality from 1 to 100, --shard-pictures at least 1")
    try:
        config, folder = named_config(args, "-shards")
        sizes = {"short_side": args.short_side, "quality": args.quality, "shard_pictures": args.shard_pictures}
        found = prepare(config, folder, **sizes)
    except (ConfigError, TooManyBroken, ModuleNotFoundError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for broken in found["skipped"][:20]:
        print(f"left out: {broken['image']}: {broken['reason']}")
    print(f"\n{format_summary(found['summary'], config.dataset.name)}\n")
    left = [split for split in SPLITS if split not in config.dataset.splits]
    if left:
        print(f"not packed: {', '.join(left)}; dataset.splits names what is")
    print(f"shards:  {folder}\nsummary: {folder / 'summary.json'}\nnext:")
    again = " ".join(["python -m itembed_tf.train", *([args.config] if args.config else [])])
    others = [each for each in args.set if not each.startswith("dataset.root")]
    print(f"  {again}" + "".join(f" --set {shlex.quote(each)}" for each in [*others, f"dataset.shards={folder}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
