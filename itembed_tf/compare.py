"""Program: the ranks of two runs on the same split -> their difference, and whether it means anything.

    python -m itembed_tf.compare RUN_A RUN_B [--split dev]
    python -m itembed_tf.compare RUN_A0 RUN_A1 RUN_A2 --against RUN_B0 RUN_B1 RUN_B2     several seeds of each

Runs are measured before: python -m itembed_tf.evaluate RUN --split dev keeps the ranks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from itembed_tf.evaluation.comparison import compare_runs, format_comparison


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m itembed_tf.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="two run directories; with --against, those of side A")
    parser.add_argument("--against", nargs="+", default=[], metavar="RUN", help="run directories of side B")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"))
    parser.add_argument("--protocol", help="where the runs were measured by several")
    args = parser.parse_args(argv)
    if not args.against and len(args.runs) != 2:
        parser.error("give two runs, or several of each side with --against between them")
    runs, against = (args.runs, args.against) if args.against else (args.runs[:1], args.runs[1:])
    try:
        found = compare_runs(runs, against, args.split, args.protocol)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(format_comparison(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
