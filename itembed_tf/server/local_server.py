"""The local server: TF Serving's gRPC and REST APIs over a folder of exports, for machines without TF Serving."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from itembed_tf.errors import UserError
from itembed_tf.export_layout import EXTRA_ASSETS, TEXT_ENCODER
from itembed_tf.program import command_line
from itembed_tf.server.defaults import GRPC_PORT, METRICS_PATH, REST_PORT
from itembed_tf.server.engine_choice import EngineChoice
from itembed_tf.server.limits import Limits
from itembed_tf.server.worker_socket import announce_ready, stop_with_supervisor

if TYPE_CHECKING:  # these import TensorFlow, which the check of a command line must not wait for
    from itembed_tf.server.batching import RequestPart
    from itembed_tf.server.model_version import ModelVersion

GRACE_SECONDS = 10.0  # for running requests, when the server shuts down


@dataclass(frozen=True)
class ServerOptions:
    """Options of the local server.

    Attributes:
        host: address to listen on.
        grpc_port, rest_port: 0 for any free port.
        versions: number of versions of each model to serve, the newest ones.
        labels: version by label; these versions are served too.
        threads: CPU cores of one operation (TensorFlow's intra-op threads), 0 for all.
        poll: seconds between two scans of the folder.
        limits: of every model.
        index: folder of an index to search at ``/v1/search``; None for none.
        choice: engine of text encoders.
        workers: number of processes that share the ports (`itembed_tf.server.supervisor`).
    """

    host: str = "127.0.0.1"
    grpc_port: int = GRPC_PORT
    rest_port: int = REST_PORT
    versions: int = 1
    labels: Mapping[str, int] = field(default_factory=dict)
    threads: int = 0
    poll: float = 1.0
    limits: Limits = field(default_factory=Limits)
    index: Path | None = None
    choice: EngineChoice = EngineChoice()
    workers: int = 1


def check_exports(exports: Path, litert: str = "") -> None:
    """Raise UserError if `exports` is not a folder of SavedModels.

    Args:
        exports: the folder.
        litert: name of the LiteRT file that a text encoder must have; "" for none.
    """
    if not exports.is_dir():
        raise UserError(f"{exports} is not a folder; `itembed export RUN {exports}` writes one")
    if not any(exports.glob("*/*/saved_model.pb")):
        raise UserError(
            f"{exports} has no SavedModel (MODEL/VERSION/saved_model.pb); `itembed export RUN {exports}` writes two"
        )
    if litert and not (any(exports.glob(litert)) or any(exports.glob(f"{TEXT_ENCODER}/*/{EXTRA_ASSETS}/{litert}"))):
        raise UserError(
            f"{exports} has no {litert} for --engine litert; `itembed export RUN {exports}` writes the float32 "
            "file, and --to litert those of other precisions"
        )


async def serve(exports: Path, options: ServerOptions, *, worker: bool = False) -> None:
    """Serve all models of a folder in this process until SIGINT or SIGTERM.

    Args:
        exports: the folder.
        options: of the server.
        worker: whether this is one of `options.workers` processes, whose ports the supervisor has reserved.

    Raises:
        UserError: no model could be loaded, or a port cannot be used.
    """
    import tensorflow as tf
    from grpc_health.v1.health_pb2 import HealthCheckResponse

    from itembed_tf.server import grpc_api, http_server, metrics, model_manager, rest_api, search_api, version_folders

    _warn_of_writable(version_folders.writable_by_others(exports))
    _allow_many_files()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    gc.freeze()  # without it, a full collection of the 400,000 objects of the imports blocks the loop for 0.15 s
    recorded = metrics.Metrics()

    def observe(version: ModelVersion, batch: Sequence[RequestPart], seconds: float) -> None:
        recorded.batch(version.name, version.engine, batch, time.monotonic() - seconds, seconds)

    models = model_manager.ModelManager(
        exports, options.limits, newest=options.versions, labels=options.labels, observe=observe, choice=options.choice
    )
    await models.scan(only_stable=False)
    if not any(model.versions for model in models.models.values()):
        raise UserError(f"no model in {exports} could be loaded; the errors are printed above")
    searching = search_api.SearchApi(options.index, models, options.limits) if options.index else None
    server, health = grpc_api.make_server(models, options.limits, recorded, share_port=worker)
    try:
        grpc_port = server.add_insecure_port(f"{_bracketed(options.host)}:{options.grpc_port}")
    except RuntimeError as error:
        raise port_error("grpc", options.host, options.grpc_port, error) from None
    handler = rest_api.make_handler(models, options.limits, recorded, searching)
    rest = http_server.HttpServer(handler, options.limits)
    try:
        rest_port = await rest.start(options.host, options.rest_port, share_port=worker)
    except OSError as error:
        raise port_error("rest", options.host, options.rest_port, error) from None
    await server.start()
    for service in grpc_api.SERVICES:
        await health.set(service, HealthCheckResponse.SERVING)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watching = asyncio.create_task(models.watch(options.poll))
    if worker:
        stop_with_supervisor(stop)
        announce_ready()
    else:
        announce(options.host, grpc_port, rest_port)
    await stop.wait()
    print(f"shutting down: running requests have {GRACE_SECONDS:.0f} s to finish", flush=True)
    watching.cancel()
    await health.enter_graceful_shutdown()
    await asyncio.gather(server.stop(GRACE_SECONDS), rest.close(GRACE_SECONDS))
    await models.close()
    if searching:
        searching.close()


def _warn_of_writable(folders: Sequence[Path]) -> None:
    for folder in folders:
        print(
            f"warning: every user of this machine can write into {folder}, and a SavedModel is a program that this "
            f"server runs; take the right away: chmod o-w {folder}",
            file=sys.stderr,
        )


def announce(host: str, grpc_port: int, rest_port: int) -> None:
    """Print the addresses of a server that is ready."""
    host = _bracketed(host)
    print(f"gRPC {host}:{grpc_port}   REST http://{host}:{rest_port}   metrics at {METRICS_PATH}")
    print(f"try it: {command_line('client', f'{host}:{grpc_port}', 'text', 'a dog runs')}", flush=True)


def port_error(api: str, host: str, port: int, error: Exception) -> UserError:
    """The error of a port that cannot be listened on; `api` is "grpc" or "rest"."""
    choose = f"choose another with --{api}-port, or 0 for any free one"
    return UserError(f"cannot listen on {_bracketed(host)}:{port} ({error}); the port may be in use: {choose}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _allow_many_files() -> None:
    """Raise the limit of open files to the highest that the system allows: every connection is one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
