"""Several worker processes against one: are the losses of every step those of one process with the same batch?

    python -m benchmarks.workers [--quick]

A small model is trained on 24 images of noise in two stages of 20 steps, with a batch of 12: Stage I from cached
features (AdamW, clipping, a moving average, dropout, two captions per image), Stage II from JPEG files, all layers
trained (SGD, ranking loss; small steps, as large ones amplify differences by rounding). Worker processes on this
machine (TF_CONFIG, one thread each) train it together:

- two and four workers, against one: the losses of all steps of both stages;
- four workers with a sharded softmax are stopped by SIGTERM to all but the chief after ten steps of Stage I; their
  checkpoint is continued by one, two and three workers: the losses of all further steps, against those of one process
  that was not stopped.

The figure is the largest difference of two losses. --quick trains four steps of each stage with two workers, and
continues them with one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.runner import print_versions, verdict
from benchmarks.tiny_flickr8k import write_tiny_flickr8k
from benchmarks.worker_processes import run_workers

BAR = 1e-4
STEPS = 20  # of a stage
STOP = 10  # steps of Stage I before SIGTERM
RESUME = 75  # exit code
CONFIG = """
embedding_size = 16
[dataset]
name = "flickr8k"
splits = ["train", "dev"]
root = "{root}"
[image]
size = 32
[image_tower]
weights = "none"
[data]
captions = 2
[text]
tokenizer = "words"
length = 8
[text_tower]
word_width = 8
width = 0.1
blocks = [1]
[word_vectors]
source = "random"
[model]
dropout = 0.2
softmax = "full"
[[stages]]
name = "I"
epochs = {epochs}
batch_size = 12
cached_views = 2
losses = {{ instance_image = 1.0, instance_text = 1.0, infonce = 1.0 }}
learning_rate = 0.0003
clip_norm = 1.0
average = 0.9
evaluate_every = {epochs}
[[stages]]
name = "II"
epochs = {epochs}
batch_size = 12
freeze = []
losses = {{ instance_image = 1.0, instance_text = 1.0, ranking_max = 1.0 }}
optimizer = "sgd"
learning_rate = 0.003
clip_norm = 0.1
evaluate_every = {epochs}
"""


def train_as_worker(number: int, config: Path, run: Path, losses: Path, stop: int, more: Sequence[str]) -> int:
    """Train, in a worker process; all but the chief get SIGTERM after `stop` steps (0: never). Returns the exit code.

    The chief writes the losses of its steps. Evaluation, exports and report, most of the time of a
    small training, are left out.
    """
    from itembed_tf import cli
    from itembed_tf.pipeline import train

    found: list[float] = []
    finish = mock.patch.object(train, "finish_run", return_value={})
    with small_networks(), finish, every_loss(found, stop if number else 0):
        code = cli.main(["train", str(config), str(run), *more])
    if number == 0:
        losses.write_text(json.dumps(found), encoding="utf-8")
    return code


@contextlib.contextmanager
def every_loss(found: list[float], stop: int) -> Iterator[None]:
    """Append the loss of every step to `found`; SIGTERM to this process after `stop` steps."""
    import signal

    from itembed_tf.training.step_scalars import StepScalars

    add = StepScalars.add

    def add_and_keep(scalars: StepScalars, values: Any) -> None:
        add(scalars, values)
        found.append(float(values["loss"]))
        if len(found) == stop:
            signal.raise_signal(signal.SIGTERM)

    with mock.patch.object(StepScalars, "add", add_and_keep):
        yield


@contextlib.contextmanager
def small_networks() -> Iterator[None]:
    """The first two stages of EfficientNet-Lite alone, which are built and traced in seconds."""
    from itembed_tf.models import efficientnet_lite

    with mock.patch.object(efficientnet_lite, "STAGES", efficientnet_lite.STAGES[:2]):
        yield


def write_noise(folder: Path) -> str:
    """Images of noise with captions; returns `folder` as a string.

    In even areas batch norm would divide by variances near 0, which makes differences by rounding large.
    """
    import numpy as np
    from PIL import Image

    root, random = write_tiny_flickr8k(folder), np.random.default_rng(0)
    for file in sorted(folder.rglob("*.jpg")):
        Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, quality=95)
    return root


def trained(place: Path, config: Path, run: str, workers: int, *more: str, stop: int = 0) -> list[float]:
    """The losses of the steps of a training by so many workers.

    Raises:
        SystemExit: it failed.
    """
    losses = place / f"{run}.json"
    logs = place / f"{run}-logs"
    codes = run_workers(workers, train_as_worker, config, place / run, losses, stop, more, logs=logs)
    if codes != [RESUME if stop else 0] * workers:
        shown = "\n".join(f"{file.name}:\n{file.read_text(encoding='utf-8')[-1500:]}" for file in logs.iterdir())
        raise SystemExit(f"{workers} workers ended with {codes}:\n{shown}")
    found: list[float] = json.loads(losses.read_text(encoding="utf-8"))
    return found


def compared(what: str, expected: Sequence[float], found: Sequence[float]) -> float:
    """The largest difference of two losses; infinite where the numbers of steps differ."""
    if len(expected) != len(found):
        print(f"{what}: {len(found)} steps where {len(expected)} were expected", flush=True)
        return float("inf")
    apart = [abs(one - other) for one, other in zip(expected, found, strict=True)]
    worst = max(apart)
    print(
        f"{what}: {len(found)} steps, losses differ by at most {worst:.1e}, in step {apart.index(worst) + 1}",
        flush=True,
    )
    return worst


def measure(place: Path, *, steps: int, stop: int, sizes: Sequence[int], stopped: int, resumed: Sequence[int]) -> float:
    """The largest difference of all runs.

    Args:
        place: folder for the data and the runs.
        steps: of a stage; a multiple of 2.
        stop: steps before the signal.
        sizes: numbers of workers to compare with one.
        stopped: number of workers that are stopped.
        resumed: numbers of workers that continue them.
    """
    config = place / "drawn.toml"
    config.write_text(CONFIG.format(root=write_noise(place / "images"), epochs=steps // 2), encoding="utf-8")
    os.environ["ITEMBED_CACHE"] = str(place / "cache")
    one = trained(place, config, "one", 1)
    print(f"one process: losses from {one[0]:.4f} to {one[steps - 1]:.4f}, then to {one[-1]:.4f}", flush=True)
    found = [compared(f"{size} workers", one, trained(place, config, f"workers{size}", size)) for size in sizes]
    sharded = ("--set", "model.softmax=sharded")
    first = trained(place, config, "stopped", stopped, *sharded, stop=stop)
    found.append(compared(f"{stopped} workers, sharded, until SIGTERM", one[: len(first)], first))
    for size in resumed:
        shutil.copytree(place / "stopped", place / f"resumed{size}")
        rest = trained(place, config, f"resumed{size}", size, *sharded)
        found.append(compared(f"continued by {size}", one[len(first) :], rest))
    return max(found)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two workers, four steps of each stage")
    args = parser.parse_args(argv)
    print_versions()
    plan: dict[str, Any] = {"steps": STEPS, "stop": STOP, "sizes": (2, 4), "stopped": 4, "resumed": (1, 2, 3)}
    if args.quick:
        plan = {"steps": 4, "stop": 2, "sizes": (), "stopped": 2, "resumed": (1,)}
    with tempfile.TemporaryDirectory() as folder:
        worst = measure(Path(folder).resolve(), **plan)
    return verdict("workers", f"{worst:.1e}", f"{BAR:.0e}", worst <= BAR)


if __name__ == "__main__":
    sys.exit(main())
