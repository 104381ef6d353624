"""Benchmark: sentences/s of the local server by gRPC with 16 clients, text in LiteRT against text in TensorFlow.

python -m benchmarks.serve_load [EXPORTS] [--seconds 10] [--rounds 5] [--precision float32] [--workers 2] [--quick]

Three servers of the same export run, and are loaded in turn: TensorFlow in one process, LiteRT in one, and LiteRT in
several (--workers), whose rate is the figure. The load comes from another process, which sends requests that were
encoded before and checks only that each is answered (`benchmarks.grpc_load`). The same load goes to gRPC servers that
compute nothing, as many as workers: what gRPC and the load alone allow. One client is compared with LiteRT in process,
and the steps of the server are timed one by one, to name what the rest is spent on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.empty_grpc import METHOD, empty_servers
from benchmarks.grpc_load import load_grpc
from benchmarks.runner import print_versions, verdict
from benchmarks.served import local_server, percentile, toy_export
from itembed_tf.export_layout import CONTRACT_FILE, DEFAULT_SIGNATURE, EXTRA_ASSETS, IDS_SIGNATURE, TEXT_ENCODER

CLIENTS = 16
ENGINES = ("tensorflow", "litert one process", "litert")  # the last one in several processes
THROUGHPUT_BAR, TAIL_BAR = 2.5, 3.0  # sentences/s of LiteRT over TensorFlow; p99 over p50 with LiteRT
TEXTS = [
    f"a {colour} {animal} {does} in the {place}"
    for colour in ("black", "white", "brown", "small")
    for animal in ("dog", "cat", "horse", "child")
    for does in ("runs", "plays", "jumps")
    for place in ("snow", "grass", "water")
]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve_load", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("exports", nargs="?", default="runs/flickr8k-seed0/encoders", help="folder of an export")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the measurements alternate (%(default)s)")
    parser.add_argument("--precision", default="float32", help="of the LiteRT file (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the LiteRT server (%(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="half a second with toy encoders: tests that the benchmark runs"
    )
    parser.add_argument("--load", nargs=3, metavar=("ADDRESS", "CLIENTS", "SECONDS"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.load:
        print(json.dumps(load(args.load[0], int(args.load[1]), float(args.load[2]))))
        return 0
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        exports = toy_export(Path(folder)) if args.quick else Path(args.exports)
        seconds, rounds = (0.5, 1) if args.quick else (args.seconds, args.rounds)
        figures = measure(exports, seconds, rounds, args.precision, args.workers)
    ratio = statistics.median(a / b for a, b in zip(figures["litert rate"], figures["tensorflow rate"], strict=True))
    tail, failed = statistics.median(figures["litert tail"]), sum(figures["failed"])
    figure = f"{ratio:.2f} x, p99 {tail:.2f} x p50, {failed:.0f} failed"
    ok = ratio >= THROUGHPUT_BAR and tail < TAIL_BAR and not failed
    return verdict("serve_load", figure, f"{THROUGHPUT_BAR} x, under {TAIL_BAR:.0f} x, 0", ok or args.quick)


def measure(exports: Path, seconds: float, rounds: int, precision: str, workers: int) -> dict[str, list[float]]:
    """Figures of all rounds: calls per second, and latency in seconds."""
    steps = server_steps(exports, precision)
    figures: dict[str, list[float]] = {}
    litert = ("--engine", "litert", "--precision", precision)
    with (
        local_server(exports, "--threads", "1", "--engine", "tensorflow") as first,
        local_server(exports, "--threads", "1", *litert) as second,
        local_server(exports, "--threads", "1", *litert, "--workers", str(workers)) as third,
        empty_servers(workers) as empty,
    ):
        servers = dict(zip(ENGINES, (first, second, third), strict=True))
        for server in servers.values():
            _load_from_outside(server.grpc, CLIENTS, min(seconds, 3.0))  # warm-up: runs every batch size
        for i in range(rounds):
            row: dict[str, float] = {"failed": 0.0}
            for engine, server in servers.items():
                one = _load_from_outside(server.grpc, 1, seconds)
                many = _load_from_outside(server.grpc, CLIENTS, seconds)
                rest = _load_from_outside(server.rest, CLIENTS, seconds)
                row |= {
                    f"{engine} rate": many["rate"],
                    f"{engine} p50": many["p50"],
                    f"{engine} tail": many["p99"] / many["p50"],
                    f"{engine} one client": one["p50"],
                    f"{engine} REST rate": rest["rate"],
                }
                row["failed"] += one["failed"] + many["failed"] + rest["failed"]
            nothing = _load_from_outside(empty, CLIENTS, seconds)
            row |= {"empty rate": nothing["rate"], "failed": row["failed"] + nothing["failed"]}
            timed = {name: _median_seconds(step, min(seconds, 1.0)) for name, step in steps.items()}
            for name, value in row.items():
                figures.setdefault(name, []).append(value)
            print(f"round {i + 1}\n" + "\n".join(_describe(row, timed)), flush=True)
    return figures


def _describe(row: dict[str, float], timed: dict[str, float]) -> list[str]:
    lines = [
        f"  {engine:18}: {CLIENTS} clients {row[f'{engine} rate']:6.0f}/s, p50 {1e3 * row[f'{engine} p50']:.1f} ms, "
        f"p99 {row[f'{engine} tail']:.2f} x p50; REST {row[f'{engine} REST rate']:.0f}/s; "
        f"1 client p50 {1e3 * row[f'{engine} one client']:.2f} ms"
        for engine in ENGINES
    ]
    named = ", ".join(f"{name} {1e3 * seconds:.3f}" for name, seconds in timed.items())
    lines.append(f"  empty gRPC servers: {CLIENTS} clients {row['empty rate']:6.0f}/s")
    rest = 1e3 * (row["litert one process one client"] - sum(timed.values()))
    return [*lines, f"  1 client, LiteRT, in ms: {named}; gRPC on both ends, two threads and the client {rest:.3f}"]


def server_steps(exports: Path, precision: str) -> dict[str, Callable[[int], Any]]:
    """What the server does for one sentence, step by step; each is called with the number of the call."""
    from tensorflow_serving.apis import predict_pb2

    from itembed_tf.server.limits import Limits
    from itembed_tf.server.litert_engine import load_litert
    from itembed_tf.server.tensors import read_inputs, write_output

    folder = max((exports / TEXT_ENCODER).glob("[0-9]*"), key=lambda path: int(path.name))
    contract = json.loads((folder / EXTRA_ASSETS / CONTRACT_FILE).read_text(encoding="utf-8"))
    engine, _ = load_litert(folder, contract, precision)
    requests, limits = encoded_requests(), Limits()
    vocabulary, ids = engine.vocabulary, engine.vocabulary.encode(TEXTS)[:, None]
    outputs = engine.run(DEFAULT_SIGNATURE, {"text": np.array([TEXTS[0].encode()], object)})
    info = text_input_info(folder)

    def read(i: int) -> Any:
        return read_inputs(predict_pb2.PredictRequest.FromString(requests[i % len(TEXTS)]).inputs, info, limits)

    def write(i: int) -> bytes:
        del i
        response = predict_pb2.PredictResponse()
        for name, array in outputs.items():
            write_output(response.outputs[name], array)
        return response.SerializeToString()

    return {
        "reading the request": read,
        "words to ids": lambda i: vocabulary.encode([TEXTS[i % len(TEXTS)].encode()]),
        "LiteRT": lambda i: engine.run(IDS_SIGNATURE, {"ids": ids[i % len(TEXTS)]}),
        "writing the response": write,
    }


def text_input_info(folder: Path) -> Any:
    """TensorInfo by name of the inputs of a text encoder's default signature."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return content.meta_graphs[0].signature_def[DEFAULT_SIGNATURE].inputs


def encoded_requests() -> list[bytes]:
    """A PredictRequest for each of `TEXTS`, serialised."""
    from itembed_tf.client.calls import Call
    from itembed_tf.client.grpc_transport import encode_request

    calls = [
        Call("predict", TEXT_ENCODER, signature=DEFAULT_SIGNATURE, inputs={"text": np.array([text.encode()], object)})
        for text in TEXTS
    ]
    return [encode_request(call) for call in calls]


def _median_seconds(step: Callable[[int], Any], seconds: float) -> float:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        step(len(times))
        times.append(time.perf_counter() - started)
    return percentile(times, 0.5)


def _load_from_outside(address: str, clients: int, seconds: float) -> dict[str, float]:
    """Generate load from a subprocess, without TensorFlow."""
    command = [sys.executable, "-m", "benchmarks.serve_load", "--load", address, str(clients), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def load(address: str, clients: int, seconds: float) -> dict[str, float]:
    """Rate, latency and failures of clients that each send the next request when they have the last answer."""
    return asyncio.run((_load_rest if address.startswith("http") else _load_grpc)(address, clients, seconds))


async def _load_grpc(address: str, clients: int, seconds: float) -> dict[str, float]:
    times, failed = await load_grpc(address, METHOD, encoded_requests(), clients, seconds)
    return _figures(times, failed, seconds)


async def _load_rest(address: str, clients: int, seconds: float) -> dict[str, float]:
    from itembed_tf.client import AsyncClient, ServingError

    async with AsyncClient(address, retries=0) as client:
        send = lambda i: client.embed_texts([TEXTS[i % len(TEXTS)]])  # noqa: E731
        return await _run_clients(send, ServingError, clients, seconds)


async def _run_clients(
    send: Callable[[int], Any], error: type[Exception], clients: int, seconds: float
) -> dict[str, float]:
    times: list[float] = []
    failed = 0
    await send(0)
    end = time.perf_counter() + seconds

    async def run_client(i: int) -> None:
        nonlocal failed
        while time.perf_counter() < end:
            started = time.perf_counter()
            try:
                await send(i)
                times.append(time.perf_counter() - started)
            except error:
                failed += 1
            i += 1

    await asyncio.gather(*(run_client(7 * i) for i in range(clients)))
    return _figures(times, failed, seconds)


def _figures(times: Sequence[float], failed: int, seconds: float) -> dict[str, float]:
    p50, p99 = (percentile(times, share) for share in (0.5, 0.99))
    return {"rate": len(times) / seconds, "p50": p50, "p99": p99, "failed": failed}


if __name__ == "__main__":
    sys.exit(main())
