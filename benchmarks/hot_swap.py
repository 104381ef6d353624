"""Benchmark: new versions dropped in under load and old ones removed; how many requests fail or get a wrong answer.

python -m benchmarks.hot_swap [--swaps 10] [--clients 16] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import print_versions, verdict
from benchmarks.served import local_server, sample_image, toy_export
from itembed_tf.client import AsyncClient, Client, ServingError

NAMES = ("image_encoder", "text_encoder")
SENTENCES, PICTURES = ["a dog runs", "the man on a red bike"], [sample_image(0), sample_image(1)]
NEAR = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_swap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--swaps", type=int, default=10, help="new versions, one after the other")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="two swaps, four clients")
    args = parser.parse_args(argv)
    swaps, clients = (2, 4) if args.quick else (args.swaps, args.clients)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), swaps, clients))
    print(
        f"{figures['good']:,} requests by gRPC and REST over {swaps} swaps; answers by version: {figures['by version']}"
    )
    for error in figures["errors"][:5]:
        print(f"  {error}")
    ok = not figures["errors"] and len(figures["by version"]) == swaps + 1
    return verdict(
        "hot_swap", f"{len(figures['errors'])} of {figures['good']:,} failed", "0 failed, all versions seen", ok
    )


async def measure(folder: Path, swaps: int, clients: int) -> dict[str, Any]:
    """Errors, right answers, and how many of them each version gave; no client tries twice."""
    exports, waiting = folder / "exports", folder / "waiting"
    for seed in range(swaps + 1):
        await asyncio.to_thread(toy_export, waiting, seed)
    expected = {n: _answers(waiting, n) for n in range(1, swaps + 2)}
    _drop(waiting, exports, 1)
    figures: dict[str, Any] = {"errors": [], "good": 0, "by version": {}}
    stop = asyncio.Event()
    with local_server(exports, "--poll", "0.2") as server:
        addresses = [server.grpc if i % 4 else server.rest for i in range(clients)]
        calls = [asyncio.create_task(_call(address, expected, figures, stop)) for address in addresses]
        await asyncio.sleep(1.0)
        for number in range(2, swaps + 2):
            await asyncio.to_thread(_swap, waiting, exports, server.grpc, number)
            await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*calls)
    return figures


def _swap(waiting: Path, exports: Path, address: str, number: int) -> None:
    """The new version in, and the old one's folder away as soon as the new one answers."""
    _drop(waiting, exports, number)
    with Client(address) as client:
        end = time.monotonic() + 60
        while any(client.status(name).get(number) != "AVAILABLE" for name in NAMES):
            if time.monotonic() > end:
                raise RuntimeError(f"version {number} is not there after 60 s: {client.status(NAMES[0])}")
            time.sleep(0.05)
    for name in NAMES:
        shutil.rmtree(exports / name / str(number - 1))


def _drop(waiting: Path, exports: Path, number: int) -> None:
    for name in NAMES:
        (exports / name).mkdir(parents=True, exist_ok=True)
        os.rename(waiting / name / str(number), exports / name / str(number))


def _answers(waiting: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    image, text = (
        tf.saved_model.load(str(waiting / name / str(number))).signatures["serving_default"] for name in NAMES
    )
    pictures = image(image_bytes=tf.constant(PICTURES))["embedding"].numpy()
    return pictures, text(text=tf.constant(SENTENCES))["embedding"].numpy()


async def _call(address: str, expected: dict[int, Any], figures: dict[str, Any], stop: asyncio.Event) -> None:
    async with AsyncClient(address, retries=0) as client:
        while not stop.is_set():
            try:
                for place, answer in (
                    (0, await client.embed_images(PICTURES)),
                    (1, (await client.embed_texts(SENTENCES)).embedding),
                ):
                    given = [n for n, right in expected.items() if np.abs(right[place] - answer).max() < NEAR]
                    if not given:
                        raise ValueError("an answer that no version gives")
                    figures["by version"][given[0]] = figures["by version"].get(given[0], 0) + 1
                    figures["good"] += 1
            except (ServingError, ValueError) as error:
                figures["errors"].append(f"{address}: {error}")


if __name__ == "__main__":
    sys.exit(main())
