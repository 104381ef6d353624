"""Program: a data set -> shards of small JPEGs with their captions, which training reads faster, and what it holds.

    python -m itembed_tf.prepare configs/coco.toml shards/coco --set dataset.root=/where/COCO/lies
    python -m itembed_tf.train configs/coco.toml --set dataset.shards=shards/coco

Pictures are shrunk to a short side of 256 pixels, as the paper stores them. All splits of dataset.splits are packed. A
packing that was stopped, even killed, goes on when the same command is given again. dataset.merge is not applied:
training applies it to what it reads.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from itembed_tf.config import ConfigError, config_parser, named_config
from itembed_tf.data.readers.group import SPLITS
from itembed_tf.data.summary import format_summary
from itembed_tf.data.unreadable import TooManyUnreadable
from itembed_tf.pipeline.prepare import prepare


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
    except (ConfigError, TooManyUnreadable, ModuleNotFoundError, ValueError, OSError) as error:
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
