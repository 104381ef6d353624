"""Load test of served encoders: throughput, latency and errors with many concurrent clients."""

from __future__ import annotations

# Before all other imports: it replaces Python's sockets and threads with gevent's.
import locust  # isort: skip

import collections
import io
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import numpy as np
from grpc.experimental import gevent as grpc_gevent
from locust.env import Environment
from PIL import Image
from tqdm import tqdm

from itembed_tf.client import Client, ServingError
from itembed_tf.client.batches import MAX_ITEMS
from itembed_tf.errors import UsageError, UserError

TEXTS = ("a dog runs on the beach", "two children play with a red ball", "a man on a bike", "a boat on the lake")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
GENERATED, WIDTH, HEIGHT = 16, 500, 375  # images without --images; the size of Flickr's
MAX_IMAGES = 256  # of a folder, kept in memory
ERROR_PAUSE = 0.1  # seconds that a client waits after an error, so that a failing server is not flooded

SendRequest = Callable[[Client, int], Any]  # sends the request of this number


@dataclass(frozen=True)
class LoadOptions:
    """Options of a load test.

    Attributes:
        address: ``host:port`` for gRPC, ``http://host:port`` for REST.
        kind: "text", "images", or "mix" for both in turn.
        clients: number of concurrent clients.
        seconds: duration.
        batch: items per request.
        images: folder of images; None to generate some.
        texts: file with one text per line; None for built-in ones.
        timeout: seconds until a request fails.
    """

    address: str
    kind: str = "mix"
    clients: int = 16
    seconds: float = 30.0
    batch: int = 1
    images: str | None = None
    texts: str | None = None
    timeout: float = 30.0


class Result(NamedTuple):
    """Result of one request: its kind, its latency, and its error or None."""

    kind: str
    seconds: float
    error: ServingError | None


def run_load_test(options: LoadOptions) -> None:
    """Run a load test and print its report.

    Raises:
        UserError: the server cannot be reached, or a request failed.
    """
    if options.batch > MAX_ITEMS:
        raise UsageError(f"--batch is {options.batch}; the maximum is {MAX_ITEMS}")
    grpc_gevent.init_gevent()
    requests = make_requests(options)
    with Client(options.address, timeout=options.timeout, retries=0) as client:
        for send in requests.values():
            send(client, 0)  # reports a wrong address once, not for every client
    items = f"{options.batch} item" + ("s" if options.batch > 1 else "")
    print(f"{options.clients} clients, {items} per request, {options.seconds:g} s, {options.address}", flush=True)
    results, seconds = generate_load(options, requests)
    print("\n".join(format_report(results, seconds, options.batch)))
    failed = sum(result.error is not None for result in results)
    if failed or not results:
        raise UserError(f"{failed} of {len(results)} requests failed")


def make_requests(options: LoadOptions) -> dict[str, SendRequest]:
    """Requests by kind; request i sends the i-th batch of items, starting again after the last item."""
    texts, images = _read_texts(options.texts), _read_images(options.images)

    def batch(items: Sequence[Any], i: int) -> list[Any]:
        return [items[k % len(items)] for k in range(i * options.batch, (i + 1) * options.batch)]

    requests: dict[str, SendRequest] = {
        "text": lambda client, i: client.embed_texts(batch(texts, i)),
        "images": lambda client, i: client.embed_images(batch(images, i)),
    }
    return requests if options.kind == "mix" else {options.kind: requests[options.kind]}


def generate_load(options: LoadOptions, requests: dict[str, SendRequest]) -> tuple[list[Result], float]:
    """Let every client send its next request when it has the response to the last one, without retries.

    Returns:
        The results of all completed requests, and the duration in seconds.
    """
    results: list[Result] = []
    numbers = itertools.count()

    class LoadClient(locust.User):
        def on_start(self) -> None:
            self.client = Client(options.address, timeout=options.timeout, retries=0)
            self.requests = itertools.cycle(requests.items())
            for _ in range(next(numbers) % len(requests)):
                next(self.requests)  # half of the clients start with the other kind

        def on_stop(self) -> None:
            self.client.close()

        @locust.task
        def send_request(self) -> None:
            kind, send = next(self.requests)
            started, failure = time.perf_counter(), None
            try:
                send(self.client, next(numbers))
            except ServingError as error:
                failure = error
            results.append(Result(kind, time.perf_counter() - started, failure))
            if failure:
                gevent.sleep(ERROR_PAUSE)

    runner = Environment(user_classes=[LoadClient]).create_local_runner()
    started = time.perf_counter()
    runner.start(options.clients, spawn_rate=options.clients)
    with tqdm(total=round(options.seconds), unit=" s", disable=None) as bar:
        while (left := options.seconds - (time.perf_counter() - started)) > 0:
            gevent.sleep(min(left, 1.0))
            bar.set_postfix(requests=len(results))
            bar.update(1 if bar.n < bar.total else 0)
    duration, completed = time.perf_counter() - started, list(results)
    runner.quit()
    return completed, duration


def format_report(results: Sequence[Result], seconds: float, batch: int) -> list[str]:
    """Lines of the report: one row per kind of request, then the errors by status code.

    Latency is that of successful requests, in milliseconds: the median, and the maximum of the fastest 95 and 99 %.
    """
    lines = [f"{'':8}{'requests':>9}{'errors':>8}{'throughput':>19}   latency of a request in ms: median, 95 %, 99 %"]
    kinds = sorted({result.kind for result in results})
    for kind in kinds if len(kinds) == 1 else [*kinds, "all"]:
        selected = [result for result in results if kind in (result.kind, "all")]
        times = [1e3 * result.seconds for result in selected if result.error is None]
        percentiles = np.percentile(times, (50, 95, 99), method="higher") if times else [float("nan")] * 3
        unit = {"text": "texts/s", "images": "images/s"}.get(kind, "items/s")
        rate = f"{len(times) * batch / seconds:.1f} {unit}"
        latency = "".join(f"{value:9.1f}" for value in percentiles)
        lines.append(f"{kind:8}{len(selected):9d}{len(selected) - len(times):8d}{rate:>19}   {latency}")
    errors = [result.error for result in results if result.error is not None]
    for code, count in collections.Counter(error.code for error in errors).most_common():
        first = next(error for error in errors if error.code == code)
        lines.append(f"{count} x {code}, first: {first.details[:200]}")
    return lines


def _read_texts(path: str | None) -> Sequence[str]:
    """The non-empty lines of a file, or the built-in texts."""
    if path is None:
        return TEXTS
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    if not any(lines):
        raise UserError(f"{path} has no text; write one per line")
    return [line for line in lines if line]


def _read_images(folder: str | None) -> Sequence[bytes]:
    """The first images of a folder, or generated JPEGs that take as long to decode as photographs."""
    if folder is not None:
        files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)[:MAX_IMAGES]
        if not files:
            raise UserError(f"{folder} has no image ({', '.join(SUFFIXES)})")
        return [file.read_bytes() for file in files]
    random, images = np.random.default_rng(0), []
    for _ in range(GENERATED):
        coarse = Image.fromarray(random.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8))
        content = io.BytesIO()
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        images.append(content.getvalue())
    return images
