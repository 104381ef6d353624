"""Embed one split with the encoders of a run and measure the retrieval: recall@K and ranks in both directions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from itembed_tf.errors import UsageError, did_you_mean
from itembed_tf.extras import require
from itembed_tf.program import Parser, add_settings, program, run_config
from itembed_tf.quiet import load_tensorflow

SPLITS = ("train", "dev", "test")
PUBLISHED_IDS = ("coco-1k", "cxc", "eccv")  # protocols that need the ids of the extra coco
EXAMPLES = """
  itembed evaluate runs/openmoji                     the dev split
  itembed evaluate runs/openmoji --split test --json
  itembed evaluate runs/coco --protocol coco-1k
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("evaluate", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("run", metavar="RUN", help="run directory of a finished run")
    parser.add_argument("--split", default="dev", choices=SPLITS, help="default: dev")
    parser.add_argument("--protocol", metavar="NAME", help="default: that of the dataset's published figures")
    add_settings(parser, "override a setting of the run, for example dataset.root=FOLDER where its images have moved")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    args = parser.parse_args(argv)
    if args.protocol:
        _check_protocol(args.protocol)
    run_config(args.run, args.set)
    load_tensorflow()
    from itembed_tf.evaluation.evaluate import evaluate_run_corrected
    from itembed_tf.evaluation.formatting import format_table

    table, corrected = evaluate_run_corrected(args.run, args.split, args.set, args.protocol)
    if args.json:
        print(json.dumps(table.to_json() | ({"hubness_corrected": corrected.to_json()} if corrected else {})))
    else:
        print("\n\n".join(format_table(each) for each in (table, corrected) if each))
    return 0


def _check_protocol(name: str) -> None:
    from itembed_tf.evaluation.catalogue import PROTOCOLS

    if name not in PROTOCOLS:
        known = f"allowed values: {', '.join(PROTOCOLS)}"
        raise UsageError(f"--protocol: no protocol {name!r}{did_you_mean(name, PROTOCOLS)}; {known}")
    if name in PUBLISHED_IDS:
        require("protocols with COCO's published ids")


if __name__ == "__main__":
    sys.exit(main())
