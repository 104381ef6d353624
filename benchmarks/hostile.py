"""Benchmark: hostile requests on loopback; does the local server stay up, keep its memory, and answer the good ones?

python -m benchmarks.hostile [--requests 100000] [--quick]
"""

from __future__ import annotations

import argparse
import http.client
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
from tqdm import tqdm

from benchmarks.hostile_requests import KINDS, Attack, drawn
from benchmarks.runner import print_versions, verdict
from benchmarks.served import Served, local_server, sample_image, toy_export
from itembed_tf.client import Client, ServingError

EVERY = 25  # a good request after so many hostile ones
GROWTH = 0.10  # of the memory that the server had after the first tenth: what counts as flat
OPTIONS = ("--max-waiting", str(64 * 2**20), "--max-pixels", "4000000")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="each kind of attack a few times")
    args = parser.parse_args(argv)
    requests = 6 * len(KINDS) if args.quick else args.requests
    print_versions()
    with tempfile.TemporaryDirectory() as folder, local_server(toy_export(Path(folder)), *OPTIONS) as server:
        figures = measure(server, requests, args.seed)
        alive = server.process.poll() is None
    for kind, answers in sorted(figures["answers"].items()):
        print(f"  {kind}: " + ", ".join(f"{code} {count:,}" for code, count in answers.most_common()))
    memory = figures["memory"]
    early, late = max(memory[: max(len(memory) // 10, 1)]), max(memory[-max(len(memory) // 10, 1) :])
    growth = late / early - 1
    print("resident memory in MB: " + ", ".join(f"{m / 2**20:.0f}" for m in memory[:: max(len(memory) // 10, 1)]))
    wrong = len(figures["wrong"])
    for said in figures["wrong"][:5]:
        print(f"  {said}")
    figure = f"{'alive' if alive else 'DEAD'}, memory {growth:+.1%}, {wrong} of {figures['good']:,} good ones wrong"
    ok = alive and not wrong and (growth <= GROWTH or args.quick)
    return verdict("hostile", figure, f"alive, at most {GROWTH:+.0%}, 0", ok)


def measure(server: Served, requests: int, seed: int) -> dict[str, Any]:
    """What each kind of attack was answered by, what went wrong, and the server's memory over time in bytes.

    An attack that is answered by INTERNAL, UNKNOWN or 5xx other than 503 counts as wrong too: that is an error of the
    server's.
    """
    draw = random.Random(seed)
    figures: dict[str, Any] = {"answers": {}, "wrong": [], "good": 0, "memory": []}
    with Client(server.grpc, retries=0) as by_grpc, Client(server.rest, retries=0) as by_rest:
        good = _good(by_grpc)
        attack = Attack(server.grpc, urlsplit(server.rest).netloc, draw)
        for i, name in enumerate(tqdm(drawn(draw, requests), desc="hostile", unit=" requests")):
            code = _answer(attack, name)
            figures["answers"].setdefault(name, Counter())[code] += 1
            if code in ("INTERNAL", "UNKNOWN", "HTTP 500"):
                figures["wrong"].append(f"{name} was answered by {code}")
            if i % EVERY == 0:
                figures["good"] += 1
                figures["wrong"] += _differs(_good, (by_grpc, by_rest)[figures["good"] % 2], good)
            if i % max(requests // 200, 1) == 0:
                figures["memory"].append(_resident(server.process.pid))
        attack.close()
    return figures


def _answer(attack: Attack, name: str) -> str:
    try:
        return KINDS[name](attack)
    except grpc.RpcError as error:
        return error.code().name  # type: ignore[attr-defined]
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def _good(client: Client) -> tuple[np.ndarray, np.ndarray]:
    return client.embed_texts(["a dog runs"]).embedding, client.embed_images([sample_image(0), sample_image(1, "PNG")])


def _differs(ask: Any, client: Client, right: tuple[np.ndarray, ...]) -> list[str]:
    started = time.monotonic()
    try:
        found = ask(client)
    except ServingError as error:
        return [f"a good request failed after {time.monotonic() - started:.1f} s: {error}"]
    off = max(float(np.abs(a - b).max()) for a, b in zip(found, right))
    return [f"a good request is off by {off:.1e}"] if off > 1e-4 else []


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * 4096


if __name__ == "__main__":
    sys.exit(main())
