"""Benchmark: sentences a second of the local server with 16 clients, against one unbatched call at a time in process.

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
SPEED, TAIL, ALONE = 2.5, 3.0, 0.40  # bars: times the sentences a second; p99 over p50; share that gRPC adds
SENTENCES = [
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
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement in each round")
    parser.add_argument("--rounds", type=int, default=5, help="the measurements take turns so often")
    parser.add_argument("--quick", action="store_true", help="a toy export and half a second: shows that it runs")
    parser.add_argument("--load", nargs=3, metavar=("ADDRESS", "CLIENTS", "SECONDS"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.load:
        address, clients, seconds = args.load[0], int(args.load[1]), float(args.load[2])
        load = _load_alone(address, seconds) if clients == 1 else asyncio.run(_load(address, clients, seconds))
        print(json.dumps(load))
        return 0
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        exports = toy_export(Path(folder)) if args.quick else Path(args.exports)
        seconds, rounds = (0.5, 1) if args.quick else (args.seconds, args.rounds)
        figures = measure(exports, seconds, rounds)
    ratio = statistics.median(figures["rate"]) / statistics.median(figures["alone rate"])
    tail = statistics.median(figures["tail"])
    added = statistics.median(figures["one p50"]) / statistics.median(figures["alone p50"]) - 1
    failed = sum(figures["failed"])
    figure = f"{ratio:.2f} x, p99 {tail:.2f} x p50, gRPC adds {added:.0%}, {failed:.0f} failed"
    ok = ratio >= SPEED and tail < TAIL and added <= ALONE and not failed
    return verdict("serve_load", figure, f"{SPEED} x, under {TAIL:.0f} x, at most {ALONE:.0%}, 0", ok or args.quick)


def measure(exports: Path, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Figures of all rounds: calls a second, and seconds a call."""
    alone = _in_process(exports)
    figures: dict[str, list[float]] = {}
    with local_server(exports, "--threads", "1") as server:
        _clients(server.grpc, CLIENTS, min(seconds, 3.0))  # every batch size has run once
        for i in range(rounds):
            times = alone(seconds)
            one, many = _clients(server.grpc, 1, seconds), _clients(server.grpc, CLIENTS, seconds)
            rest = _clients(server.rest, CLIENTS, seconds)
            row = {
                "alone rate": len(times) / sum(times),
                "alone p50": percentile(times, 0.5),
                "one p50": one["p50"],
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
                f"round {i + 1}: in process {row['alone rate']:.0f}/s, p50 {row['alone p50'] * 1e3:.1f} ms; "
                f"gRPC with 1 client p50 {row['one p50'] * 1e3:.1f} ms; with {CLIENTS}: {row['rate']:.0f}/s, "
                f"p50 {row['p50'] * 1e3:.1f} ms, p99 {row['p99'] * 1e3:.1f} ms; REST {row['REST rate']:.0f}/s",
                flush=True,
            )
    return figures


def _in_process(exports: Path) -> Any:
    import tensorflow as tf

    newest = max((exports / "text_encoder").glob("[0-9]*"), key=lambda path: int(path.name))
    serve = tf.saved_model.load(str(newest)).signatures["serving_default"]

    def alone(seconds: float) -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            serve(text=tf.constant([SENTENCES[len(times) % len(SENTENCES)]]))["embedding"].numpy()
            times.append(time.perf_counter() - started)
        return times

    alone(1.0)
    return alone


def _clients(address: str, clients: int, seconds: float) -> dict[str, float]:
    """Load from a process of its own, without TensorFlow, as callers are."""
    command = [sys.executable, "-m", "benchmarks.serve_load", "--load", address, str(clients), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def _load_alone(address: str, seconds: float) -> dict[str, float]:
    from itembed_tf.client import Client

    times: list[float] = []
    with Client(address, retries=0) as client:
        client.embed_texts(SENTENCES[:1])
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            client.embed_texts([SENTENCES[len(times) % len(SENTENCES)]])
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
                await client.embed_texts([SENTENCES[i % len(SENTENCES)]])
                times.append(time.perf_counter() - started)
            except ServingError:
                failed += 1
            i += 1

    async with AsyncClient(address, retries=0) as client:
        await client.embed_texts(SENTENCES[:1])
        end = time.perf_counter() + seconds
        await asyncio.gather(*(caller(client, 7 * i, end) for i in range(clients)))
    return _summary(times, seconds, failed)


def _summary(times: list[float], seconds: float, failed: int) -> dict[str, float]:
    p50, p99 = (percentile(times, share) for share in (0.5, 0.99))
    return {"rate": len(times) / seconds, "p50": p50, "p99": p99, "failed": failed}


if __name__ == "__main__":
    sys.exit(main())
