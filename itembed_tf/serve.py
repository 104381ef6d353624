"""Serve a folder of exports by TF Serving's gRPC and REST interfaces, on machines without TF Serving."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from itembed_tf.export_layout import TEXT_ENCODER, litert_name
from itembed_tf.extras import require
from itembed_tf.program import Parser, program
from itembed_tf.quiet import load_tensorflow
from itembed_tf.server.defaults import GRPC_PORT, REST_PORT
from itembed_tf.server.engine_choice import ENGINES, PRECISIONS, EngineChoice
from itembed_tf.server.labels import version_label
from itembed_tf.server.limits import Limits
from itembed_tf.server.local_server import ServerOptions, check_exports, serve
from itembed_tf.server.ports import check_shared_ports
from itembed_tf.server.supervisor import WorkerFailed, supervise

EXAMPLES = """
  itembed export runs/openmoji exports/openmoji
  itembed serve exports/openmoji
  itembed client 127.0.0.1:8500 text "a red apple"
"""
LIMITS = {
    "max_batch": "maximum items of a batch",
    "wait": "batching timeout in seconds: how long the first item of a batch waits for more",
    "max_queue": "maximum items in the queue of one model",
    "max_message": "maximum bytes of one request",
    "max_waiting": "maximum bytes of all queued requests of one model",
    "max_text": "maximum bytes of one text",
    "max_pixels": "maximum pixels of a decoded image, and of the images of a batch",
    "max_calls": "maximum number of open gRPC calls, and of open HTTP connections",
    "timeout": "seconds until a REST request is cancelled",
}


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    require("itembed serve")
    exports = Path(args.exports)
    check_exports(exports, litert_name(TEXT_ENCODER, args.precision) if args.engine == "litert" else "")
    options = ServerOptions(
        host=args.host,
        grpc_port=args.grpc_port,
        rest_port=args.rest_port,
        versions=args.versions,
        labels=dict(args.label),
        threads=args.threads,
        poll=args.poll,
        index=Path(args.index) if args.index else None,
        choice=EngineChoice(args.engine, args.precision),
        workers=args.workers,
        limits=Limits(**{name: getattr(args, name) for name in LIMITS}),
    )
    if args.workers > 1 and not args.worker:
        check_shared_ports()
        try:
            asyncio.run(supervise(options, lambda *ports: _worker_command(argv, *ports)))
        except WorkerFailed as failed:  # which has printed its error
            print(failed, file=sys.stderr)
            return 1
        return 0
    load_tensorflow()
    asyncio.run(serve(exports, options, worker=bool(args.worker)))
    return 0


def _worker_command(argv: Sequence[str], grpc_port: int, rest_port: int) -> list[str]:
    """Command line of a worker: that of the server with the ports which the supervisor has reserved."""
    return [sys.executable, "-m", "itembed_tf", "serve", "--worker", f"{grpc_port}:{rest_port}", *argv]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("serve", __doc__, examples=EXAMPLES.strip("\n"))
    add = parser.add_argument
    add("exports", metavar="EXPORTS", help="folder that `itembed export RUN EXPORTS` wrote")
    add("--host", default="127.0.0.1", help="0.0.0.0 accepts connections from other machines, unencrypted")
    add("--grpc-port", type=int, default=GRPC_PORT, metavar="PORT", help="0: any free port (default: %(default)s)")
    add("--rest-port", type=int, default=REST_PORT, metavar="PORT", help="0: any free port (default: %(default)s)")
    add("--versions", type=int, default=1, metavar="N", help="serve the newest N versions of each model (default: 1)")
    add(
        "--label",
        type=version_label,
        action="append",
        default=[],
        metavar="NAME=N",
        help="also serve version N, under this label; may be repeated",
    )
    add("--index", metavar="INDEX", help="also search this index, at /v1/search of the REST port")
    engine = "what runs text encoders; auto: LiteRT where the export has a file that gives the same (default: auto)"
    add("--engine", choices=ENGINES, default="auto", help=engine)
    precision = "of the LiteRT file of the text encoder (default: float32)"
    add("--precision", choices=PRECISIONS, default="float32", help=precision)
    threads = "CPU cores of one operation (0: all); 1 is best for texts, whose operations are small (default: 0)"
    add("--threads", type=int, default=0, metavar="N", help=threads)
    workers = "server processes behind the same ports, each with the models in memory; Linux only (default: 1)"
    add("--workers", type=int, default=1, metavar="N", help=workers)
    add("--worker", metavar="GRPC:REST", help=argparse.SUPPRESS)  # this process is one of them; its ports
    polling = "how often to look for new and removed versions (default: 1)"
    add("--poll", type=float, default=1.0, metavar="SECONDS", help=polling)
    limits = parser.add_argument_group("limits")
    for field in fields(Limits):
        kind = type(field.default)
        option, text = f"--{field.name.replace('_', '-')}", f"{LIMITS[field.name]} (default: %(default)s)"
        limits.add_argument(option, type=kind, default=field.default, metavar="N", help=text)
    args = parser.parse_args(argv)
    if args.precision != "float32" and args.engine != "litert":
        parser.error(f"--precision {args.precision} needs --engine litert")
    for name in ("versions", "poll", "threads", "workers", *LIMITS):
        value, zero_allowed = getattr(args, name), name in ("wait", "threads")
        if value < 0 or (value == 0 and not zero_allowed):
            parser.error(
                f"--{name.replace('_', '-')} is {value}; it must be {'0 or more' if zero_allowed else 'above 0'}"
            )
    if args.worker:
        args.grpc_port, args.rest_port = map(int, args.worker.split(":"))
    return args


if __name__ == "__main__":
    sys.exit(main())
