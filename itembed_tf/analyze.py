"""Program: a run directory -> a page and a file of figures about what its encoders learned, of any split.

python -m itembed_tf.analyze RUN [OUT] [--split dev] [--sentences 2000]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from itembed_tf.config import ConfigError
from itembed_tf.pipeline.analyze import SENTENCES, analyze_run, format_analysis
from itembed_tf.training.run_directory import RunError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m itembed_tf.analyze", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of a finished run")
    parser.add_argument("out", nargs="?", help="folder for index.html and analysis.json (default: RUN/analysis/SPLIT)")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"))
    parser.add_argument(
        "--sentences", type=int, default=SENTENCES, help=f"for leaving out words (default: {SENTENCES})"
    )
    args = parser.parse_args(argv)
    if args.sentences < 1:
        print(f"error: --sentences is {args.sentences}; it takes at least 1 to leave words out of", file=sys.stderr)
        return 1
    out = Path(args.out or Path(args.run) / "analysis" / args.split)
    try:
        told = analyze_run(args.run, out, args.split, args.sentences)
    except (ConfigError, RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{format_analysis(told)}\n")
    print(f"page:      {out / 'index.html'}")
    print(f"figures:   {out / 'analysis.json'}")
    print("next:")
    print("  open the page in a browser; docs/analysis.md says how to read it")
    print(f"  python -m itembed_tf.evaluate {args.run} --split {args.split}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
