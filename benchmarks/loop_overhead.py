"""Overhead of the training loop relative to the bare compiled step.

    ITEMBED_FLICKR8K=... python -m benchmarks.loop_overhead [--rounds 5] [--only features jpeg] [--quick]

The loop of `training.stage` with its input pipeline, metrics and progress bar, against the same compiled step on one
batch in memory, alternating in one process so that other load slows both. Each round gives a ratio; the figure is the
larger median of two cases, CPU times are printed too. "features": a whole epoch of configs/flickr8k.toml on cached
features (random values of the right shape). "jpeg": the same model with a trainable backbone on decoded, augmented
images, 20 steps of 32: the first images of Flickr8k, or generated ones if ITEMBED_FLICKR8K (default
../shared/flickr8k) is not a folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import print_versions, verdict

BAR = 1.1
CONFIG = Path(__file__).parents[1] / "configs" / "flickr8k.toml"
IMAGES, WORDS = 6000, 4000  # as Flickr8k's training split
SMALL = ("embedding_size=32", "image.size=64", "text_tower.width=0.1", "text_tower.blocks=[1]", "text.length=8")


def photographs(count: int) -> list[str | bytes]:
    """Files of Flickr8k or, without it, generated JPEGs of the same 500 x 375 pixels."""
    folder = Path(os.environ.get("ITEMBED_FLICKR8K", "../shared/flickr8k"))
    files = sorted(folder.rglob("*.jpg"))[:count] if folder.is_dir() else []
    print(f"images: {len(files)} of {folder}" if files else f"images: {count} generated, {folder} is not a folder")
    return [str(path) for path in files] if files else [noise(number) for number in range(count)]


def noise(seed: int) -> bytes:
    """A JPEG about as large as a photograph: smooth colours with noise."""
    from PIL import Image

    random = np.random.default_rng(seed)
    clouds = Image.fromarray(random.integers(0, 255, (15, 20, 3), dtype=np.uint8)).resize((500, 375), 3)
    grain = np.asarray(clouds, np.float32) + random.normal(0, 12, (375, 500, 3))
    out = io.BytesIO()
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def random_captions(length: int) -> np.ndarray:
    """Five captions an image, of 5 to `length` words: int32 [5 * IMAGES, length], 0 for padding on the right."""
    random = np.random.default_rng(0)
    ids = random.integers(1, WORDS, (5 * IMAGES, length)).astype(np.int32)
    ids[np.arange(length) >= random.integers(5, length, (len(ids), 1))] = 0
    return ids


def prepare(kind: str, overrides: Sequence[str]) -> tuple[Callable[..., Any], Callable[[int, int], Any], int]:
    """The compiled step, a function from an epoch to its batches, and the batch size."""
    from itembed_tf.config import arguments, load_config
    from itembed_tf.data.batches import Items, batches, draw_epoch
    from itembed_tf.data.images import augment_image
    from itembed_tf.data.readers import ImageSource
    from itembed_tf.data.sources import feature_source, image_source
    from itembed_tf.models.dual_path import parts
    from itembed_tf.training.averages import Averages
    from itembed_tf.training.build import build_model
    from itembed_tf.training.freezing import freeze_parts
    from itembed_tf.training.optimizer import make_optimizer
    from itembed_tf.training.step import compiled_step

    config = load_config(CONFIG, ['image_tower.weights="none"', *overrides])
    stage = config.stages[0]
    if kind == "jpeg":
        stage = dataclasses.replace(stage, freeze=(), cached_views=0, batch_size=32, jit=False)
    model = build_model(config, vocabulary_size=WORDS + 1, classes=IMAGES)
    freeze_parts(model, stage.freeze)
    network = model.on_features if stage.cached_views else model
    optimizer = make_optimizer(
        stage, steps_per_epoch=IMAGES // stage.batch_size, part_of=lambda variable: [], loss_scaling=False
    )
    optimizer.build(network.trainable_variables)
    averages = Averages(network.trainable_variables, stage.average)
    step = compiled_step(network, optimizer, averages, stage)

    random, ids = np.random.default_rng(0), random_captions(config.text.length)
    groups = np.arange(IMAGES, dtype=np.int32)
    if stage.cached_views:
        width = parts(model)["backbone"].output.shape[-1]
        views = [random.normal(size=(IMAGES, width)).astype(np.float32) for _ in range(stage.cached_views)]
        images: list[ImageSource] = [""] * IMAGES
        source = feature_source(views)
    else:
        files = photographs(512)
        images = [files[number % len(files)] for number in range(IMAGES)]
        source = image_source(images, partial(augment_image, size=config.image.size, **arguments(config.augmentation)))
    items = Items(images, groups, [""] * len(ids), np.repeat(groups, 5))

    def epoch(number: int, first_step: int) -> Any:
        drawn = draw_epoch(
            items, ids, **arguments(config.data), batch_size=stage.batch_size, mining=0, seed=(0, 0, number)
        )
        return batches(drawn, first_step, source, groups)

    return step, epoch, stage.batch_size


def ratio(kind: str, rounds: int, steps: int, overrides: Sequence[str]) -> float:
    """Print the time of a step alone and in the loop (0 steps: a whole epoch); returns the ratio."""
    from itembed_tf.training.stage import run_epoch
    from itembed_tf.training.state import StageState
    from itembed_tf.training.step_scalars import StepScalars

    step, epoch, batch_size = prepare(kind, overrides)
    steps = steps or IMAGES // batch_size
    last = IMAGES // batch_size - steps
    resident = next(iter(epoch(0, last)))
    for _ in range(3):
        started = time.perf_counter()
        float(step(resident)["loss"])
        print(f"{kind}: first step {time.perf_counter() - started:.2f} s", flush=True)
    alone: list[tuple[float, float]] = []  # wall-clock and CPU seconds of a step, one pair a round
    looped: list[tuple[float, float]] = []
    for number in range(rounds):
        with timed(alone, steps):
            for _ in range(steps):
                numbers = step(resident)
            float(numbers["loss"])
        state = StageState()
        with timed(looped, steps):
            run_epoch(step, epoch(number, last), StepScalars(state), lambda: None, f"{kind}, round {number + 1}", steps)
        assert state.step == steps
        print(f"{kind}: {1000 * alone[-1][0]:.1f} ms alone, {1000 * looped[-1][0]:.1f} ms in the loop", flush=True)
    wall, work = ([b[k] / a[k] for a, b in zip(alone, looped, strict=True)] for k in (0, 1))
    listed = ", ".join(f"{each:.3f}" for each in wall)
    print(f"{kind}: loop over bare step, {steps} steps a round: {listed}; median {statistics.median(wall):.3f} x")
    print(f"{kind}: in CPU time {statistics.median(work):.3f} x", flush=True)
    return statistics.median(wall)


@contextmanager
def timed(times: list[tuple[float, float]], steps: int) -> Iterator[None]:
    """Append wall-clock and CPU seconds of the block per step."""
    wall, work = time.perf_counter(), time.process_time()
    yield
    times.append(((time.perf_counter() - wall) / steps, (time.process_time() - work) / steps))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loop_overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["features", "jpeg"], choices=["features", "jpeg"])
    parser.add_argument("--quick", action="store_true", help="tiny towers; its bar is 50")
    args = parser.parse_args(argv)
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()  # as the training program does
    print_versions()
    print(f"load average: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "")
    steps = {"features": 4, "jpeg": 4} if args.quick else {"features": 0, "jpeg": 20}
    rounds, bar = (1, 50.0) if args.quick else (args.rounds, BAR)
    figure = max(ratio(kind, rounds, steps[kind], SMALL if args.quick else ()) for kind in args.only)
    return verdict("loop_overhead", f"{figure:.3f}", f"{bar:g}", figure <= bar)


if __name__ == "__main__":
    raise SystemExit(main())
