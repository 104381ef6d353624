"""Program: a run directory -> embeddings of one split -> the retrieval table, by a named protocol.

python -m itembed_tf.evaluate RUN [--split dev] [--protocol coco-1k] [--set evaluation.shifts=all]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from itembed_tf.config import ConfigError
from itembed_tf.evaluation.embeddings import evaluate_run, format_block
from itembed_tf.evaluation.protocols import PROTOCOLS
from itembed_tf.training.run_directory import RunError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m itembed_tf.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of a finished run")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"))
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), help="another than the data set's published figures'")
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="another setting than the run's"
    )
    args = parser.parse_args(argv)
    try:
        block = evaluate_run(args.run, args.split, args.set, args.protocol)
    except (ConfigError, RunError, ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(format_block(block))
    return 0


if __name__ == "__main__":
    sys.exit(main())
