"""Measure how much load a server of the encoders can handle: requests of many clients, throughput, latency, errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from itembed_tf.extras import require
from itembed_tf.program import Parser, program

EXAMPLES = """
  itembed load 127.0.0.1:8500
  itembed load http://127.0.0.1:8501 --kind text --clients 64 --seconds 60
"""


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    require("itembed load")
    from itembed_tf.client.load_test import LoadOptions, run_load_test

    run_load_test(LoadOptions(**vars(args)))
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("load", __doc__, examples=EXAMPLES.strip("\n"))
    add = parser.add_argument
    add("address", metavar="ADDRESS", help="host:port for gRPC, http://host:port for REST")
    add("--kind", choices=["text", "images", "mix"], default="mix", help="mix: both in turn (default: mix)")
    add("--clients", type=int, default=16, metavar="N", help="concurrent clients (default: 16)")
    add("--seconds", type=float, default=30.0, metavar="S", help="duration (default: 30)")
    add("--batch", type=int, default=1, metavar="N", help="texts or images per request, 1 to 32 (default: 1)")
    add("--images", metavar="FOLDER", help="send the first 256 images of this folder (default: 16 generated ones)")
    add("--texts", metavar="FILE", help="send the lines of this file (default: four built-in ones)")
    add("--timeout", type=float, default=30.0, metavar="S", help="seconds until a request has failed (default: 30)")
    args = parser.parse_args(argv)
    for name in ("clients", "seconds", "timeout", "batch"):
        if getattr(args, name) <= 0:
            parser.error(f"--{name} is {getattr(args, name)}; it must be above 0")
    return args


if __name__ == "__main__":
    sys.exit(main())
