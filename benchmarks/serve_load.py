"""Benchmark: texts/s of the local server with 16 clients, against single calls in process.

python -m benchmarks.serve_load [EXPORTS] [--seconds 10] [--rounds 5] [--quick]
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runner import print_versions, verdict
from benchmarks.served import local_server, percentile, toy_export

CLIENTS = 16
THROUGHPUT_BAR, TAIL_BAR, OVERHEAD_BAR = 2.5, 3.0, 0.40  # ratio of texts/s; p99 over p50; latency that gRPC adds
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
    parser.add_argument(
        "--quick", action="store_true", help="half a second with toy encoders: tests that the benchmark runs"
    )
    parser.add_argument("--load", nargs=3, metavar=("ADDRESS", "CLIENTS", "SECONDS"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.load:
        address, clients, seconds = args.load[0], int(args.load[1]), float(args.load[2])
        load = _load_one_client(address, seconds) if clients == 1 else asyncio.run(_load(address, clients, seconds))
        print(json.dumps(load))
        return 0
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        exports = toy_export(Path(folder)) if args.quick else Path(args.exports)
        seconds, rounds = (0.5, 1) if args.quick else (args.seconds, args.rounds)
        figures = measure(exports, seconds, rounds)
    ratio = statistics.median(figures["rate"]) / statistics.median(figures["in process rate"])
    tail = statistics.median(figures["tail"])
    added = statistics.median(figures["one client p50"]) / statistics.median(figures["in process p50"]) - 1
    failed = sum(figures["failed"])
    figure = f"{ratio:.2f} x, p99 {tail:.2f} x p50, gRPC adds {added:.0%}, {failed:.0f} failed"
    ok = ratio >= THROUGHPUT_BAR and tail < TAIL_BAR and added <= OVERHEAD_BAR and not failed
    bar = f"{THROUGHPUT_BAR} x, under {TAIL_BAR:.0f} x, at most {OVERHEAD_BAR:.0%}, 0"
    return verdict("serve_load", figure, bar, ok or args.quick)


def measure(exports: Path, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Figures of all rounds: calls per second, and latency in seconds."""
    run_in_process = _in_process(exports)
    figures: dict[str, list[float]] = {}
    with local_server(exports, "--threads", "1") as server:
        _measure_clients(server.grpc, CLIENTS, min(seconds, 3.0))  # warm-up: runs every batch size
        for i in range(rounds):
            times = run_in_process(seconds)
            one, many = _measure_clients(server.grpc, 1, seconds), _measure_clients(server.grpc, CLIENTS, seconds)
            rest = _measure_clients(server.rest, CLIENTS, seconds)
            row = {
                "in process rate": len(times) / sum(times),
                "in process p50": percentile(times, 0.5),
                "one client p50": one["p50"],
                "rate": many["rate"],
                "p50": many["p50"],
                "p99": many["p99"],
                "tail": many["p99"] / many["p50"],
                "REST rate": rest["rate"],
                "failed": one["failed"] + many["failed"] + rest["failed"],
            }
            for name, value in row.items():
                figures.setdefault(name, []).append(value)
            print(
                f"round {i + 1}: in process {row['in process rate']:.0f}/s, p50 {row['in process p50'] * 1e3:.1f} ms; "
                f"gRPC with 1 client p50 {row['one client p50'] * 1e3:.1f} ms; with {CLIENTS}: {row['rate']:.0f}/s, "
                f"p50 {row['p50'] * 1e3:.1f} ms, p99 {row['p99'] * 1e3:.1f} ms; REST {row['REST rate']:.0f}/s",
                flush=True,
            )
    return figures


def _in_process(exports: Path) -> Any:
    import tensorflow as tf

    newest = max((exports / "text_encoder").glob("[0-9]*"), key=lambda path: int(path.name))
    serve = tf.saved_model.load(str(newest)).signatures["serving_default"]

    def run(seconds: float) -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            serve(text=tf.constant([TEXTS[len(times) % len(TEXTS)]]))["embedding"].numpy()
            times.append(time.perf_counter() - started)
        return times

    run(1.0)
    return run


def _measure_clients(address: str, clients: int, seconds: float) -> dict[str, float]:
    """Generate load from a subprocess, without TensorFlow."""
    command = [sys.executable, "-m", "benchmarks.serve_load", "--load", address, str(clients), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def _load_one_client(address: str, seconds: float) -> dict[str, float]:
    from itembed_tf.client import Client

    times: list[float] = []
    with Client(address, retries=0) as client:
        client.embed_texts(TEXTS[:1])
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            client.embed_texts([TEXTS[len(times) % len(TEXTS)]])
            times.append(time.perf_counter() - started)
    return _summary(times, seconds, 0)


async def _load(address: str, clients: int, seconds: float) -> dict[str, float]:
    from itembed_tf.client import AsyncClient, ServingError

    times: list[float] = []
    failed = 0

    async def caller(client: AsyncClient, first: int, end: float) -> None:
        nonlocal failed
        i = first
        while time.perf_counter() < end:
            started = time.perf_counter()
            try:
                await client.embed_texts([TEXTS[i % len(TEXTS)]])
                times.append(time.perf_counter() - started)
            except ServingError:
                failed += 1
            i += 1

    async with AsyncClient(address, retries=0) as client:
        await client.embed_texts(TEXTS[:1])
        end = time.perf_counter() + seconds
        await asyncio.gather(*(caller(client, 7 * i, end) for i in range(clients)))
    return _summary(times, seconds, failed)


def _summary(times: list[float], seconds: float, failed: int) -> dict[str, float]:
    p50, p99 = (percentile(times, share) for share in (0.5, 0.99))
    return {"rate": len(times) / seconds, "p50": p50, "p99": p99, "failed": failed}


if __name__ == "__main__":
    sys.exit(main())
