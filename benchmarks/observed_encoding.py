"""The feature cache of a training, observed: each batch of features that is computed becomes a line of a log.

    python -m benchmarks.observed_encoding LOG NUMBER SECONDS WORD...

runs ``itembed WORD...`` in a process that kills itself (SIGKILL) so many seconds after it has computed the batch of
this number, the first being 1.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.tiny_runs import TRAIN_IMAGES, Ended, Place

IMAGES = 4  # of a batch, so that a tiny training computes many
VIEWS = 4  # cached
BATCHES = VIEWS * TRAIN_IMAGES // IMAGES  # of all views of train
BATCH_SECONDS = 0.05  # more than a batch takes to be computed and written


@contextmanager
def observed(log: Path, after_batch: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Append a line to `log` for each batch of features that the block computes, and call `after_batch`.

    A line has the name of the view's file, the first row and the row behind the last one.
    """
    from itembed_tf.data import feature_cache

    write = feature_cache.cached_rows

    def cached_rows(path: Path, batches: Any, *shape_and_title: Any, **settings: Any) -> np.ndarray:
        def logged(first: int) -> Iterable[Any]:
            for batch in batches(first):
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"{path.name} {first} {first + len(batch)}\n")
                after_batch()
                yield batch
                first += len(batch)

        return write(path, logged, *shape_and_title, **settings)

    defaults = feature_cache.cached_features.__kwdefaults__
    with mock.patch.object(feature_cache, "cached_rows", cached_rows), mock.patch.dict(defaults, batch_size=IMAGES):
        yield


def finished_views(cache: Path) -> dict[str, bytes]:
    """The complete files of features in a cache folder: name -> content."""
    files = (cache / "features").glob("*.npy")
    return {file.name: file.read_bytes() for file in files if not file.name.startswith(".")}


def encoding_problems(log: Path, finished: Collection[str]) -> list[str]:
    """What was computed twice, by a log of a process that was killed and of the next one.

    Only the batch that was under way at the kill may be, and no part of a view that was `finished` then.
    """
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    twice = [line for line, times in Counter(lines).items() if times > 1]
    problems = [f"computes {len(twice)} batches twice"] if len(twice) > 1 else []
    return problems + [f"computes {line} twice" for line in twice if line.split()[0] in finished]


@contextmanager
def killed_encoding(place: Place, draw: random.Random) -> Iterator[Ended]:
    """A training is killed soon after a random batch of the features that it computes."""
    moment = (draw.randrange(1, 1 + BATCHES), draw.uniform(0.0, BATCH_SECONDS))
    words = ("-m", "benchmarks.observed_encoding", place.log, *moment, "train", place.config, place.run)
    process = place.process(*words)
    output = process.communicate()[0]
    yield process.returncode, output


def kill_after(number: int, seconds: float) -> Callable[[], None]:
    """A function to be called after each batch, which kills the process `seconds` after the batch of this number."""
    left = number

    def after_batch() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    return after_batch


def main(argv: Sequence[str]) -> int:
    from itembed_tf import cli

    log, number, seconds, *words = argv
    with observed(Path(log), kill_after(int(number), float(seconds))):
        return cli.main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
