"""Load test of a server of the encoders: many clients at once, throughput, latency, errors."""

from __future__ import annotations

# First of all: its import puts gevent's sockets and threads in place of Python's.
import locust  # isort: skip

import argparse
import collections
import io
import itertools
import sys
import time
from collections.abc import Callable, Sequence
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
from itembed_tf.errors import UsageError

SENTENCES = ("a dog runs on the beach", "two children play with a red ball", "a man on a bike", "a boat on the lake")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
DRAWN, WIDTH, HEIGHT = 16, 500, 375  # where no pictures are given; the size of Flickr's
READ = 256  # pictures that are kept in memory at most
PAUSE = 0.1  # seconds that a client waits when it was refused, so that it does not storm a server that is away

Ask = Callable[[Client, int], Any]  # a client and the number of the request


class Answer(NamedTuple):
    """One request: what was asked for, how long it took, and what went wrong, or None."""

    kind: str
    seconds: float
    error: Exception | None


def run_load_test(args: argparse.Namespace) -> int:
    """Run the load test of the parsed command line (`itembed_tf.load_test`); returns the exit code."""
    if args.batch > MAX_ITEMS:
        raise UsageError(f"--batch is {args.batch}; the maximum is {MAX_ITEMS}")
    grpc_gevent.init_gevent()
    asks = requests(args.kind, _sentences(args.texts), _pictures(args.images), args.batch)
    with Client(args.address, timeout=args.timeout, retries=0) as client:
        for ask in asks.values():
            ask(client, 0)  # a wrong address is reported once, not by every client
    print(f"{args.clients} clients, {args.batch} a request, {args.seconds:g} s against {args.address}", flush=True)
    answers, seconds = load(args.address, asks, clients=args.clients, seconds=args.seconds, timeout=args.timeout)
    print("\n".join(table(answers, seconds, args.batch)))
    failed = sum(answer.error is not None for answer in answers)
    if failed or not answers:
        print(f"error: {failed} of {len(answers)} requests failed", file=sys.stderr)
        return 1
    return 0


def requests(kind: str, sentences: Sequence[str], pictures: Sequence[bytes], batch: int) -> dict[str, Ask]:
    """What a client asks in turn, by name; request i carries the next `batch` items of its kind."""

    def part(items: Sequence[Any], i: int) -> list[Any]:
        return [items[k % len(items)] for k in range(i * batch, (i + 1) * batch)]

    asks: dict[str, Ask] = {
        "text": lambda client, i: client.embed_texts(part(sentences, i)),
        "images": lambda client, i: client.embed_images(part(pictures, i)),
    }
    return asks if kind == "mix" else {kind: asks[kind]}


def load(
    address: str, asks: dict[str, Ask], *, clients: int, seconds: float, timeout: float
) -> tuple[list[Answer], float]:
    """Every client sends its next request when it has the answer to the last; none is tried again.

    Returns:
        The requests that were answered or refused in time, and the seconds that they took together.
    """
    answers: list[Answer] = []
    numbers = itertools.count()

    class Caller(locust.User):
        def on_start(self) -> None:
            self.client = Client(address, timeout=timeout, retries=0)
            self.turns = itertools.cycle(asks.items())
            for _ in range(next(numbers) % len(asks)):
                next(self.turns)  # the clients do not all begin with the same kind

        def on_stop(self) -> None:
            self.client.close()

        @locust.task
        def ask(self) -> None:
            kind, ask = next(self.turns)
            started, failure = time.perf_counter(), None
            try:
                ask(self.client, next(numbers))
            except ServingError as error:
                failure = error
            answers.append(Answer(kind, time.perf_counter() - started, failure))
            if failure:
                gevent.sleep(PAUSE)

    runner = Environment(user_classes=[Caller]).create_local_runner()
    started = time.perf_counter()
    runner.start(clients, spawn_rate=clients)
    with tqdm(total=round(seconds), unit=" s", disable=None) as bar:
        while (left := seconds - (time.perf_counter() - started)) > 0:
            gevent.sleep(min(left, 1.0))
            bar.set_postfix(requests=len(answers))
            bar.update(1 if bar.n < bar.total else 0)
    taken, counted = time.perf_counter() - started, list(answers)
    runner.quit()
    return counted, taken


def table(answers: Sequence[Answer], seconds: float, batch: int) -> list[str]:
    """Lines for a reader: a row a kind, then each code of an error, how often, and the first one's words."""
    lines = [f"{'':9} requests  items/s   p50 ms   p95 ms   p99 ms   errors"]
    kinds = sorted({answer.kind for answer in answers})
    for kind in kinds if len(kinds) == 1 else [*kinds, "all"]:
        mine = [answer for answer in answers if kind in (answer.kind, "all")]
        times = [1e3 * answer.seconds for answer in mine if answer.error is None]
        shares = np.percentile(times, (50, 95, 99), method="higher") if times else [float("nan")] * 3
        shown = "".join(f"{value:9.1f}" for value in (len(times) * batch / seconds, *shares))
        lines.append(f"{kind:9}{len(mine):9d}{shown}{len(mine) - len(times):9d}")
    codes = collections.Counter(answer.error.code for answer in answers if isinstance(answer.error, ServingError))
    for code, count in codes.most_common():
        first = next(a.error for a in answers if isinstance(a.error, ServingError) and a.error.code == code)
        lines.append(f"{count} x {code}, first: {first.details[:200]}")
    return lines


def _sentences(path: str | None) -> Sequence[str]:
    """A line each; without a file, a few of our own."""
    if path is None:
        return SENTENCES
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    if not any(lines):
        raise ValueError(f"{path} holds no sentence: write one a line")
    return [line for line in lines if line]


def _pictures(folder: str | None) -> Sequence[bytes]:
    """The first pictures of a folder; without one, drawn JPEGs that cost as much to decode as photographs."""
    if folder is not None:
        files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)[:READ]
        if not files:
            raise ValueError(f"{folder} holds no picture ({', '.join(SUFFIXES)})")
        return [file.read_bytes() for file in files]
    random, drawn = np.random.default_rng(0), []
    for _ in range(DRAWN):
        coarse = Image.fromarray(random.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8))
        content = io.BytesIO()
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        drawn.append(content.getvalue())
    return drawn
