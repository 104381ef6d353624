"""A server of a folder of exports by TF Serving's gRPC and REST, for machines without TF Serving."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
import time
from pathlib import Path
from typing import Any

from itembed_tf.program import command_line
from itembed_tf.server.defaults import METRICS_PATH
from itembed_tf.server.limits import Limits

GRACE = 10.0  # seconds that requests under way get when the server is told to end


async def serve(exports: Path, limits: Limits, args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    import tensorflow as tf
    from grpc_health.v1.health_pb2 import HealthCheckResponse

    from itembed_tf.server import grpc_api, http_server, metrics, model_manager, rest_api

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    gc.freeze()  # 400,000 objects of the imports: each full collection would hold up all answers for 0.15 s
    counted = metrics.Metrics()
    labels = dict(args.label)

    def observe(version: Any, batch: Any, seconds: float) -> None:
        counted.batch(version.name, batch, time.monotonic() - seconds, seconds)

    served = model_manager.ModelManager(exports, limits, newest=args.versions, labels=labels, observe=observe)
    await served.scan(only_stable=False)
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
    print(f"gRPC {host}:{grpc_port}   REST http://{host}:{rest_port}   metrics at {METRICS_PATH}")
    print(f"try it: {command_line('client', f'{host}:{grpc_port}', 'text', 'a dog runs')}", flush=True)
    await stop.wait()
    print(f"ending: requests under way get {GRACE:.0f} s", flush=True)
    watching.cancel()
    await health.enter_graceful_shutdown()
    await asyncio.gather(server.stop(GRACE), rest.close(GRACE))
    await served.close()
    return 0
