"""Write the files that serve a folder of exports with TF Serving: Docker Compose, Kubernetes, Prometheus, Grafana."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from itembed_tf.program import Parser, program
from itembed_tf.server.defaults import ENCODERS_IMAGE, SERVER_IMAGE
from itembed_tf.server.labels import version_label

EXAMPLES = """
  itembed kit exports/openmoji kit
  itembed kit exports/openmoji kit2 --label stable=1 --label canary=2
"""


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    from itembed_tf.server.kit import KitOptions, make_kit, write_kit

    options = KitOptions(
        labels=dict(args.label),
        cpus=args.cpus,
        image=args.image,
        server=args.server,
        batching=not args.no_batching,
    )
    kit = make_kit(Path(args.exports), Path(args.out), options)
    for path in write_kit(Path(args.out), kit):
        print(path)
    for note in kit.notes:
        print(f"note: {note}")
    out = shlex.quote(args.out)
    print(f"next, on this machine:\n  docker compose -f {out}/compose.yaml up")
    print(f"next, on Kubernetes:\n  {kit.build}\n  docker push {kit.image}\n  kubectl apply -k {out}")
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("kit", __doc__, examples=EXAMPLES.strip("\n"))
    add = parser.add_argument
    add("exports", metavar="EXPORTS", help="folder that `itembed export RUN EXPORTS` wrote")
    add("out", metavar="OUT", help="new folder for the kit; an existing one is not overwritten")
    add(
        "--label",
        type=version_label,
        action="append",
        default=[],
        metavar="NAME=N",
        help="serve version N under this label, and pin it; may be repeated",
    )
    add("--cpus", type=int, default=2, metavar="N", help="CPU cores of one server (default: 2)")
    image = "name of the image for Kubernetes, with its registry (default: %(default)s)"
    add("--image", default=ENCODERS_IMAGE, help=image)
    add("--server", default=SERVER_IMAGE, help="image of TF Serving (default: %(default)s)")
    add("--no-batching", action="store_true", help="run every request by itself")
    args = parser.parse_args(argv)
    if args.cpus < 1:
        parser.error(f"--cpus is {args.cpus}; the minimum is 1")
    if not re.fullmatch(r"([a-z0-9.-]+(:[0-9]+)?/)?[a-z0-9._/-]+", args.image):
        parser.error(f"--image {args.image}: write registry.io/me/name without a tag; the tag is made from the export")
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9./:@_-]*", args.server):
        parser.error(f"--server {args.server}: not a valid image name")
    return args


if __name__ == "__main__":
    sys.exit(main())
