"""Train and measure phrase localisation: which box of an image a phrase of its caption describes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from itembed_tf.config import ConfigError, check_localisation, named_config
from itembed_tf.extras import require
from itembed_tf.program import Parser, add_config, program
from itembed_tf.quiet import load_tensorflow

PROPOSALS = 200  # per image
EXAMPLES = """
  python -m itembed_tf.localisation.scenes scenes                generates data to try it on
  itembed localise localisation --set dataset.root=scenes
  itembed localise localisation runs/mine --set dataset.root=flickr30k_entities --proposals edge_boxes.jsonl

Writes index.html (boxes drawn on images), metrics.json, config.toml and proposals.jsonl. The figures are of test, or of
dev where there is no test. An interrupted run starts again, with the region features from the cache.
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("localise", __doc__, examples=EXAMPLES.strip("\n"))
    add_config(parser, "OUT", "run directory (default: runs/<name of the config>)", default="")
    parser.add_argument("--proposals", default="", metavar="FILE", help="proposed boxes of each image, in JSON lines")
    limit = f"maximum number of proposals per image (default: {PROPOSALS})"
    parser.add_argument("--max-proposals", type=int, default=PROPOSALS, metavar="N", help=limit)
    parser.add_argument("--no-positions", action="store_true", help="do not use the positions of the boxes as features")
    args = parser.parse_args(argv)
    if args.config is None:
        raise ConfigError("give a config: itembed localise localisation --set dataset.root=FOLDER")
    if args.max_proposals < 1:
        parser.error(f"--max-proposals is {args.max_proposals}; the minimum is 1")
    config, folder = named_config(args)
    check_localisation(config)
    if not args.proposals:
        require("computing region proposals")
    load_tensorflow()
    from itembed_tf.localisation.run import format_recalls, localise

    metrics = localise(
        config, folder, proposals=args.proposals, max_proposals=args.max_proposals, positions=not args.no_positions
    )
    split = metrics["split"]
    print(f"\n{split}:     {format_recalls(metrics[split]['all'])}")
    print(f"page:      {folder / 'index.html'}")
    print(f"figures:   {folder / 'metrics.json'}")
    print(f"proposals: {folder / 'proposals.jsonl'}  (to use them again: --proposals)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
