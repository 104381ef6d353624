"""Compare the retrieval of two runs, or of several seeds of two methods, on the same split.

Reads the ranks that `itembed evaluate RUN --split SPLIT` writes into each run directory, and prints the differences
with 95 % confidence intervals.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from itembed_tf.program import Parser, program

EXAMPLES = """
  itembed compare runs/a runs/b
  itembed compare runs/a0 runs/a1 --against runs/b0 runs/b1 --split test      several seeds of each
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("compare", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("runs", nargs="+", metavar="RUN", help="two run directories; with --against, those of method A")
    parser.add_argument("--against", nargs="+", default=[], metavar="RUN", help="run directories of method B")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"), help="default: dev")
    parser.add_argument("--protocol", metavar="NAME", help="for runs that were evaluated with several protocols")
    parser.add_argument("--corrected", action="store_true", help="compare the ranks of hubness-corrected scores")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    args = parser.parse_args(argv)
    if not args.against and len(args.runs) != 2:
        parser.error("give two runs, or several runs of each method with --against between them")
    runs, against = (args.runs, args.against) if args.against else (args.runs[:1], args.runs[1:])
    from itembed_tf.evaluation.comparison import compare_runs
    from itembed_tf.evaluation.formatting import format_comparison

    comparison = compare_runs(runs, against, args.split, args.protocol, corrected=args.corrected)
    print(json.dumps(comparison.to_json()) if args.json else format_comparison(comparison))
    return 0


if __name__ == "__main__":
    sys.exit(main())
