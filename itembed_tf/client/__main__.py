"""Request embeddings of images or texts from a server of the encoders, or rank images by a text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from itembed_tf.program import Parser, program

EXAMPLES = """
  itembed client 127.0.0.1:8500 status
  itembed client 127.0.0.1:8500 text "a dog runs" --out embeddings.npz
  itembed client http://127.0.0.1:8501 image a.jpg b.png
  itembed client 127.0.0.1:8500 rank "a dog runs" *.jpg
"""
MINIMUM = {"image": "one image file", "text": "one text", "rank": "a text and one image file", "status": ""}


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    from itembed_tf.client.actions import run_action

    return run_action(args)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("client", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        help="host:port for gRPC, http://host:port for REST; encrypted: grpcs://, https://",
    )
    parser.add_argument("what", choices=tuple(MINIMUM), help="what to request")
    parser.add_argument("items", nargs="*", metavar="ITEM", help="image files, texts, or a text and image files")
    parser.add_argument("--out", metavar="FILE", help="write the arrays to this .npz file")
    parser.add_argument("--version", type=int, metavar="N", help="version of the models (default: the latest)")
    parser.add_argument("--label", help="label of a version, such as stable")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds per request and its retries")
    retries = "further attempts when the server is unavailable or overloaded (default: 5)"
    parser.add_argument("--retries", type=int, default=5, metavar="N", help=retries)
    parser.add_argument("--ca-file", metavar="FILE", help="certificates (PEM) to trust, for grpcs:// and https://")
    header = "header of every call; may be repeated. A bearer token is read from ITEMBED_TOKEN in the environment"
    parser.add_argument("--header", action="append", default=[], metavar="NAME=VALUE", help=header)
    args = parser.parse_args(argv)
    for header in args.header:
        if "=" not in header:
            parser.error(f"--header {header}: expected NAME=VALUE")
    minimum = {"image": 1, "text": 1, "rank": 2, "status": 0}[args.what]
    if len(args.items) < minimum:
        parser.error(f"{args.what} needs at least {MINIMUM[args.what]}")
    return args


if __name__ == "__main__":
    sys.exit(main())
