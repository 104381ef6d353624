"""Speed of training: features of a frozen CNN, the loop, Stage II against VSE++, and what determinism costs.

    ITEMBED_FLICKR8K=... ITEMBED_TORCH_PYTHON=... python -m benchmarks.train_speed [--rounds 5] [--images 512]
        [--only features loop stage-two determinism] [--precisions float32 bfloat16] [--quick]

"features": images from JPEG files to features of the CNN of configs/flickr8k_best.toml, as the feature cache computes
them (`itembed_tf.models.frozen_inference`), against TensorFlow's inference function on the same input pipeline; both
alternate in one process. Every image's features must have a cosine of at least 0.9999 with TensorFlow's. "loop": the
rate of Stage I from cached features and of Stage II from JPEG in percent of the bare compiled step, by
benchmarks/loop_overhead.py. "stage-two": images a second of Stage II from JPEG against VSE++ in PyTorch that trains
the same CNN (benchmarks/stage_two_speed.py), which needs `pip install torch numpy pillow efficientnet-lite-pytorch` in
the environment of the interpreter ITEMBED_TORCH_PYTHON. "determinism": the loop with deterministic operations in
percent of the loop without, from cached features and from JPEG; it has no bar. Without ITEMBED_FLICKR8K the images are
generated.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import stage_two_speed
from benchmarks.loop_overhead import IMAGES, photographs, prepare, timed
from benchmarks.loop_overhead import ratio as loop_ratio
from benchmarks.runner import print_versions, verdict

BAR, CACHED, FROM_JPEG = 1.5, 95.0, 90.0  # times as fast; percent of the bare step
CONFIG = Path(__file__).parents[1] / "configs" / "flickr8k_best.toml"
BATCH = 64
PARTS = ("features", "loop", "stage-two", "determinism")
TINY = ("image.size=64", 'image_tower.backbone="efficientnet-lite0"', 'image_tower.weights="none"')


def features(count: int, rounds: int, overrides: Sequence[str]) -> tuple[float, float]:
    """How many times as fast the cached features are computed, and the lowest cosine of an image's features."""
    from itembed_tf.config import load_config
    from itembed_tf.data.images import load_image
    from itembed_tf.data.sources import image_batches
    from itembed_tf.models.backbones import build_backbone, join_levels
    from itembed_tf.models.frozen_inference import MINIMUM_COSINE, WORTHWHILE, frozen_inference
    from itembed_tf.models.inference import InferenceFunction, inference_function

    config = load_config(CONFIG, ["members=0", *overrides])
    tower, size = config.image_tower, config.image.size
    backbone = build_backbone(tower.backbone, weights=tower.weights, size=size)
    if not overrides:
        backbone = join_levels(backbone, tower.levels)
    files = photographs(count)

    def encode(function: InferenceFunction) -> tuple[np.ndarray, float]:
        batches = image_batches(files, lambda data, i: load_image(data, size=size, fit=config.image.fit), BATCH)
        started = time.perf_counter()
        rows = np.concatenate([np.asarray(function(batch)) for batch in batches])
        return rows, len(files) / (time.perf_counter() - started)

    ours, theirs = frozen_inference(backbone, max(count, WORTHWHILE)), inference_function(backbone)
    by_ours, by_theirs = encode(ours)[0], encode(theirs)[0]  # the first pass reads the files and compiles
    lengths = np.linalg.norm(by_ours, axis=1) * np.linalg.norm(by_theirs, axis=1)
    cosine = float(((by_ours * by_theirs).sum(axis=1) / lengths).min())
    ratios = []
    for number in range(rounds):
        (_, fast), (_, slow) = encode(ours), encode(theirs)
        ratios.append(fast / slow)
        print(f"features: round {number + 1}: {fast:.1f} against {slow:.1f} images/s: {ratios[-1]:.2f} x", flush=True)
    print(f"features: lowest cosine of {len(files)} images {cosine:.7f} (at least {MINIMUM_COSINE} is needed)")
    return statistics.median(ratios), cosine


def determinism(kind: str, rounds: int, steps: int) -> float:
    """Median over the rounds of the rate of the loop with deterministic operations, in percent of that without."""
    from dataclasses import replace

    from itembed_tf.config import Config
    from itembed_tf.training.determinism import set_determinism
    from itembed_tf.training.stage import run_epoch
    from itembed_tf.training.state import StageState
    from itembed_tf.training.step_scalars import StepScalars

    loops = {}
    for choice in ("on", "off"):
        set_determinism(replace(Config(), determinism=choice))  # kernels take it over when they first run
        loops[choice] = prepare(kind, ())
    percents, work = [], []
    for number in range(rounds + 1):
        times: dict[str, list[tuple[float, float]]] = {}
        for choice, (step, epoch, batch_size) in loops.items():
            set_determinism(replace(Config(), determinism=choice))
            count = steps or IMAGES // batch_size
            batches, title = epoch(number, IMAGES // batch_size - count), f"determinism {choice}"
            with timed(times.setdefault(choice, []), count):
                run_epoch(step, batches, StepScalars(StageState()), lambda: None, title, count)
        if number:  # the first round compiles
            (seconds, cpu), (seconds_off, cpu_off) = times["on"][0], times["off"][0]
            percents.append(100 * seconds_off / seconds)
            work.append(100 * cpu_off / cpu)
            print(
                f"determinism, {kind}: a step {1000 * seconds:.0f} ms with, {1000 * seconds_off:.0f} without, CPU time "
                f"{1000 * cpu:.0f} and {1000 * cpu_off:.0f} ms",
                flush=True,
            )
    set_determinism(Config())
    print(f"determinism, {kind}: in CPU time {statistics.median(work):.1f} %", flush=True)
    return statistics.median(percents)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default: 5)")
    parser.add_argument("--images", type=int, default=512, help="images to encode in a round (default: 512)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--precisions", nargs="+", choices=tuple(stage_two_speed.POLICIES), default=["float32"], help="of Stage II"
    )
    parser.add_argument("--quick", action="store_true", help="a small CNN and few images, features only; its bar is 0")
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()  # as the training program does
    print_versions()
    if args.quick:
        speed, cosine = features(8, 1, TINY)
        return verdict("train_speed", f"features {speed:.2f} x, cosine {cosine:.7f}", "0 x, 0.9999", cosine >= 0.9999)
    figures, bars, ok = [], [], True
    if "features" in args.only:
        speed, cosine = features(args.images, args.rounds, ())
        figures.append(f"features {speed:.2f} x")
        bars.append(f"{BAR} x")
        ok = speed >= BAR and cosine >= 0.9999
    if "loop" in args.only:
        for kind, bar, steps in (("features", CACHED, 0), ("jpeg", FROM_JPEG, 20)):
            percent = 100 / loop_ratio(kind, args.rounds, steps, ())
            figures.append(f"loop, {kind} {percent:.1f} %")
            bars.append(f"{bar:.0f} %")
            ok = ok and percent >= bar
    for precision in args.precisions if "stage-two" in args.only else ():
        speed = stage_two_speed.speeds(args.rounds, 8, precision)
        figures.append(f"Stage II in {precision} {speed:.2f} x VSE++")
        bars.append(f"{stage_two_speed.BAR} x")
        ok = ok and speed >= stage_two_speed.BAR
    for kind, steps in (("features", 12), ("jpeg", 4)) if "determinism" in args.only else ():
        figures.append(f"determinism, {kind} {determinism(kind, args.rounds, steps):.1f} %")
        bars.append("none")
    return verdict("train_speed", ", ".join(figures), ", ".join(bars), ok)


if __name__ == "__main__":
    sys.exit(main())
