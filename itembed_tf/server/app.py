"""Program: a folder of exports -> a server of TF Serving's gRPC and REST, for laptops, tests and machines without it.

python -m serving.local EXPORTS [--host 127.0.0.1] [--grpc-port 8500] [--rest-port 8501]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from itembed_tf.server.limits import Limits

GRACE = 10.0  # seconds that requests under way get when the server is told to end


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    exports = Path(args.exports)
    if not exports.is_dir():
        print(f"error: {exports} is not a folder; `python -m export.saved_model RUN OUT` writes one", file=sys.stderr)
        return 1
    limits = Limits(**{field.name: getattr(args, field.name) for field in fields(Limits)})
    try:
        return asyncio.run(serve(exports, limits, args))
    except OSError as error:
        print(f"error: {error}; choose another port, 0 for any that is free", file=sys.stderr)
        return 1


async def serve(exports: Path, limits: Limits, args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    import tensorflow as tf
    from grpc_health.v1.health_pb2 import HealthCheckResponse

    from itembed_tf.server import (  # late: --help must not wait for TensorFlow
        grpc_api,
        http_server,
        metrics,
        models,
        rest_api,
    )

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    gc.freeze()  # 400,000 objects of the imports: each full collection would hold up all answers for 0.15 s
    counted = metrics.Metrics()
    labels = dict(_label(text) for text in args.label)

    def observe(version: Any, batch: Any, seconds: float) -> None:
        counted.batch(version.name, batch, time.monotonic() - seconds, seconds)

    served = models.Models(exports, limits, keep=args.versions, labels=labels, observe=observe)
    await served.scan(patient=False)
    if not any(model.versions for model in served.models.values()):
        print(f"error: {exports} holds no SavedModel as <model>/<number>/saved_model.pb that loads", file=sys.stderr)
        return 1
    server, health = grpc_api.make_server(served, limits, counted)
    host = f"[{args.host}]" if ":" in args.host else args.host
    try:
        grpc_port = server.add_insecure_port(f"{host}:{args.grpc_port}")
    except RuntimeError as error:
        raise OSError(f"{host}:{args.grpc_port} cannot be listened at: {error}") from None
    rest = http_server.HttpServer(rest_api.make_handler(served, limits, counted), limits)
    rest_port = await rest.start(args.host, args.rest_port)
    await server.start()
    for service in grpc_api.SERVICES:
        await health.set(service, HealthCheckResponse.SERVING)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watching = asyncio.create_task(served.watch(args.poll))
    print(f"gRPC {host}:{grpc_port}   REST http://{host}:{rest_port}   metrics at {metrics.PATH}")
    print(f'try it: python -m serving.client {host}:{grpc_port} text "a dog runs"', flush=True)
    await stop.wait()
    print(f"ending: requests under way get {GRACE:.0f} s", flush=True)
    watching.cancel()
    await health.enter_graceful_shutdown()
    await asyncio.gather(server.stop(GRACE), rest.close(GRACE))
    await served.close()
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.local", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("exports", help="folder that `python -m export.saved_model RUN OUT` wrote")
    add("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in, unencrypted")
    add("--grpc-port", type=int, default=8500, help="0: any that is free")
    add("--rest-port", type=int, default=8501)
    add("--versions", type=int, default=1, metavar="N", help="serve the newest N versions of each model")
    add("--label", action="append", default=[], metavar="NAME=N", help="serve version N too, under this label")
    add(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="cores that one operation may take (0: all); 1 is best for sentences, whose operations are small",
    )
    add("--poll", type=float, default=1.0, metavar="SECONDS", help="how often to look for new and removed versions")
    helps = {
        "max_batch": "items that run together",
        "wait": "seconds that a lone item waits for company",
        "max_queue": "items that wait for one model",
        "max_message": "bytes of one request",
        "max_waiting": "bytes of all requests that wait for one model",
        "max_text": "bytes of one sentence",
        "max_pixels": "of a decoded picture, and of the pictures that run together",
        "max_calls": "gRPC calls, and HTTP connections, open at a time",
        "timeout": "seconds until a REST request is given up",
    }
    for field in fields(Limits):
        option, kind = "--" + field.name.replace("_", "-"), type(field.default)
        add(option, type=kind, default=field.default, metavar="N", help=f"{helps[field.name]} (%(default)s)")
    args = parser.parse_args(argv)
    for name in ("versions", "poll", "threads", *helps):
        if getattr(args, name) < 0 or (name not in ("wait", "threads") and not getattr(args, name)):
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    for text in args.label:
        try:
            _label(text)
        except ValueError:
            parser.error(f"--label {text}: write NAME=N with the number of a version, such as stable=1")
    return args


def _label(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name:
        raise ValueError
    return name, int(number)


if __name__ == "__main__":
    sys.exit(main())
