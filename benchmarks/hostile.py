"""Benchmark: malformed and oversized requests. Does the local server stay up, keep its memory, and serve valid ones?

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

from benchmarks.hostile_requests import KINDS, Attack, draw_kinds
from benchmarks.runner import print_versions, verdict
from benchmarks.served import Served, local_server, sample_image, toy_export
from itembed_tf.client import Client, ServingError

VALID_EVERY = 25  # hostile requests per valid one
MAX_GROWTH = 0.10  # of the memory, from the first tenth of the requests to the last
OPTIONS = ("--max-waiting", str(64 * 2**20), "--max-pixels", "4000000")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="each kind of request a few times")
    args = parser.parse_args(argv)
    requests = 6 * len(KINDS) if args.quick else args.requests
    print_versions()
    with tempfile.TemporaryDirectory() as folder, local_server(toy_export(Path(folder)), *OPTIONS) as server:
        figures = measure(server, requests, args.seed)
        alive = server.process.poll() is None
    for kind, codes in sorted(figures["codes"].items()):
        print(f"  {kind}: " + ", ".join(f"{code} {count:,}" for code, count in codes.most_common()))
    memory = figures["memory"]
    early, late = max(memory[: max(len(memory) // 10, 1)]), max(memory[-max(len(memory) // 10, 1) :])
    growth = late / early - 1
    print("resident memory in MB: " + ", ".join(f"{m / 2**20:.0f}" for m in memory[:: max(len(memory) // 10, 1)]))
    failures = len(figures["failures"])
    for message in figures["failures"][:5]:
        print(f"  {message}")
    state = "alive" if alive else "DEAD"
    figure = f"{state}, memory {growth:+.1%}, {failures} failures, {figures['valid']:,} valid requests"
    ok = alive and not failures and (growth <= MAX_GROWTH or args.quick)
    return verdict("hostile", figure, f"alive, at most {MAX_GROWTH:+.0%}, 0", ok)


def measure(server: Served, requests: int, seed: int) -> dict[str, Any]:
    """Status codes by kind of request, failures, and the server's memory over time in bytes.

    A hostile request that gets INTERNAL, UNKNOWN or HTTP 500 is a failure too: that is an error of the server.
    """
    random_state = random.Random(seed)
    figures: dict[str, Any] = {"codes": {}, "failures": [], "valid": 0, "memory": []}
    with Client(server.grpc, retries=0) as by_grpc, Client(server.rest, retries=0) as by_rest:
        expected = _valid_embeddings(by_grpc)
        attack = Attack(server.grpc, urlsplit(server.rest).netloc, random_state)
        for i, name in enumerate(tqdm(draw_kinds(random_state, requests), desc="hostile", unit=" requests")):
            code = _status_code(attack, name)
            figures["codes"].setdefault(name, Counter())[code] += 1
            if code in ("INTERNAL", "UNKNOWN", "HTTP 500"):
                figures["failures"].append(f"{name} got {code}")
            if i % VALID_EVERY == 0:
                figures["valid"] += 1
                figures["failures"] += _differs((by_grpc, by_rest)[figures["valid"] % 2], expected)
            if i % max(requests // 200, 1) == 0:
                figures["memory"].append(_resident(server.process.pid))
        attack.close()
    return figures


def _status_code(attack: Attack, name: str) -> str:
    try:
        return KINDS[name](attack)
    except grpc.RpcError as error:
        return error.code().name  # type: ignore[attr-defined]
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def _valid_embeddings(client: Client) -> tuple[np.ndarray, np.ndarray]:
    return client.embed_texts(["a dog runs"]).embedding, client.embed_images([sample_image(0), sample_image(1, "PNG")])


def _differs(client: Client, expected: tuple[np.ndarray, ...]) -> list[str]:
    started = time.monotonic()
    try:
        embeddings = _valid_embeddings(client)
    except ServingError as error:
        return [f"a valid request failed after {time.monotonic() - started:.1f} s: {error}"]
    off = max(float(np.abs(a - b).max()) for a, b in zip(embeddings, expected))
    return [f"the embedding of a valid request is off by {off:.1e}"] if off > 1e-4 else []


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * 4096


if __name__ == "__main__":
    sys.exit(main())
