"""Benchmark: new versions added and old ones removed under load; how many requests fail or get a wrong response.

python -m benchmarks.hot_swap [--swaps 10] [--clients 16] [--workers 1] [--quick]
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
from itembed_tf.export_layout import ENCODERS

TEXTS, IMAGES = ["a dog runs", "the man on a red bike"], [sample_image(0), sample_image(1)]
TOLERANCE = 1e-4  # of a component of an embedding


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_swap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--swaps", type=int, default=10, help="number of new versions, added one by one")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    parser.add_argument("--quick", action="store_true", help="two swaps, four clients")
    args = parser.parse_args(argv)
    swaps, clients = (2, 4) if args.quick else (args.swaps, args.clients)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), swaps, clients, args.workers))
    print(f"{figures['good']:,} requests by gRPC and REST over {swaps} swaps; by version: {figures['by version']}")
    for error in figures["errors"][:5]:
        print(f"  {error}")
    ok = not figures["errors"] and len(figures["by version"]) == swaps + 1
    return verdict(
        "hot_swap", f"{len(figures['errors'])} of {figures['good']:,} failed", "0 failed, all versions seen", ok
    )


async def measure(folder: Path, swaps: int, clients: int, workers: int = 1) -> dict[str, Any]:
    """Errors, correct responses, and their number by version; clients do not retry."""
    exports, prepared = folder / "exports", folder / "prepared"
    for seed in range(swaps + 1):
        await asyncio.to_thread(toy_export, prepared, seed)
    expected = {n: _answers(prepared, n) for n in range(1, swaps + 2)}
    _add(prepared, exports, 1)
    figures: dict[str, Any] = {"errors": [], "good": 0, "by version": {}}
    stop = asyncio.Event()
    with local_server(exports, "--poll", "0.2", "--workers", str(workers)) as server:
        addresses = [server.grpc if i % 4 else server.rest for i in range(clients)]
        calls = [asyncio.create_task(_call(address, expected, figures, stop)) for address in addresses]
        await asyncio.sleep(1.0)
        for number in range(2, swaps + 2):
            await asyncio.to_thread(_swap, prepared, exports, server.grpc, number)
            await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*calls)
    return figures


def _swap(prepared: Path, exports: Path, address: str, number: int) -> None:
    """Add a version, and remove the previous one when the new one is available."""
    _add(prepared, exports, number)
    with Client(address) as client:
        end = time.monotonic() + 60
        while any(client.status(name).get(number) != "AVAILABLE" for name in ENCODERS):
            if time.monotonic() > end:
                raise RuntimeError(f"version {number} is not available after 60 s: {client.status(ENCODERS[0])}")
            time.sleep(0.05)
    for name in ENCODERS:
        shutil.rmtree(exports / name / str(number - 1))


def _add(prepared: Path, exports: Path, number: int) -> None:
    for name in ENCODERS:
        (exports / name).mkdir(parents=True, exist_ok=True)
        os.rename(prepared / name / str(number), exports / name / str(number))


def _answers(prepared: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    image, text = (
        tf.saved_model.load(str(prepared / name / str(number))).signatures["serving_default"] for name in ENCODERS
    )
    images = image(image_bytes=tf.constant(IMAGES))["embedding"].numpy()
    return images, text(text=tf.constant(TEXTS))["embedding"].numpy()


async def _call(address: str, expected: dict[int, Any], figures: dict[str, Any], stop: asyncio.Event) -> None:
    async with AsyncClient(address, retries=0) as client:
        while not stop.is_set():
            try:
                for i, embedding in (
                    (0, await client.embed_images(IMAGES)),
                    (1, (await client.embed_texts(TEXTS)).embedding),
                ):
                    matching = [n for n, right in expected.items() if np.abs(right[i] - embedding).max() < TOLERANCE]
                    if not matching:
                        raise ValueError("an embedding of no version")
                    figures["by version"][matching[0]] = figures["by version"].get(matching[0], 0) + 1
                    figures["good"] += 1
            except (ServingError, ValueError) as error:
                figures["errors"].append(f"{address}: {error}")


if __name__ == "__main__":
    sys.exit(main())
