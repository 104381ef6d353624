"""Pack a dataset into shards of small JPEGs with their captions, which training reads faster.

All splits of dataset.splits are packed. dataset.merge is not applied: training applies it to what it reads.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from itembed_tf.config import check_dataset, named_config
from itembed_tf.extras import require_data
from itembed_tf.interruption import resumable
from itembed_tf.program import Parser, add_config, command_line, config_words, program
from itembed_tf.quiet import load_tensorflow

EXAMPLES = """
  itembed prepare coco shards/coco --set dataset.root=FOLDER
  itembed train coco --set dataset.shards=shards/coco

An interrupted packing continues when the same command is given again.
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("prepare", __doc__, examples=EXAMPLES.strip("\n"))
    add_config(parser, "OUT", "folder of the shards (default: runs/<name of the config>-shards)")
    parser.add_argument(
        "--short-side",
        type=int,
        default=256,
        metavar="PIXELS",
        help="shrink images to this short side (default: 256, as in the paper)",
    )
    parser.add_argument("--quality", type=int, default=95, metavar="1-100", help="JPEG quality (default: 95)")
    parser.add_argument("--shard-images", type=int, default=4096, metavar="N", help="images per shard (default: 4096)")
    args = parser.parse_args(argv)
    if args.short_side < 32 or not 1 <= args.quality <= 100 or args.shard_images < 1:
        parser.error("allowed values: --short-side 32 or more, --quality 1 to 100, --shard-images 1 or more")
    config, folder = named_config(args, "-shards")
    check_dataset(config)
    require_data(config)
    load_tensorflow()
    from itembed_tf.data.readers.group import SPLITS
    from itembed_tf.data.summary import format_counts
    from itembed_tf.pipeline.prepare import format_prepared, prepare

    sizes = {"short_side": args.short_side, "quality": args.quality, "shard_images": args.shard_images}
    given = ("--short-side", args.short_side, "--quality", args.quality, "--shard-images", args.shard_images)
    with resumable(command_line("prepare", *config_words(args), *map(str, given))):
        prepared = prepare(config, folder, **sizes)
    for unreadable in prepared.skipped[:20]:
        print(f"skipped: {unreadable.image}: {unreadable.reason}")
    print(f"{config.dataset.name}: {format_counts(prepared.data)}")
    print(f"\n{format_prepared(prepared, config.dataset.name)}\n")
    missing = [split for split in SPLITS if split not in config.dataset.splits]
    if missing:
        print(f"not packed: {', '.join(missing)}, which dataset.splits does not name")
    print(f"shards:  {folder}\nsummary: {folder / 'summary.json'}\nnext:")
    args.out, args.set = None, [setting for setting in args.set if not setting.startswith("dataset.root")]
    print(f"  {command_line('train', *config_words(args), '--set', f'dataset.shards={folder}')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
