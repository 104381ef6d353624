"""Step of the classifier with very many classes: sampled softmax against the full one, and a million classes.

    python -m benchmarks.class_scale [--large 1000000] [--steps 7] [--quick]

The step is that of a training (`itembed_tf.training.step`): image and text features [32, 2048] with a layer
normalisation, both instance losses, SGD with momentum; no towers. Two processes each take their two steps in turn, so
that other load on the machine slows both:

- 113,287 classes (the images of MSCOCO's training split): a tenth of them drawn, against all;
- the same sampled step, against as many drawn of `--large` classes, whose peak memory is printed too.

The exact classifier sharded over two and four worker processes is compared with all classes in one process
(benchmarks/sharded_classifier.py): losses and weights of 20 steps, and the bytes of weights and momentum of each.

It also counts the operations of the sampled step that have an output of the size of all class weights: there must be
none. --quick uses a hundredth of the classes and 64 dimensions as a smoke test; only this count, and the classifier
sharded over two workers, have a bar then.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import sharded_classifier
from benchmarks.runner import print_versions, verdict

CLASSES, SIZE, BATCH, SHARE = 113_287, 2048, 32, 0.1
BAR_SAMPLED, BAR_LARGE, BAR_MEMORY, BAR_SHARDED = 0.15, 1.3, 24.0, 1e-5
SIDES = ("image", "text")
CHUNK = 50_000  # rows of random weights at a time


def training_step(classes: int, size: int, sampled: int) -> tuple[Callable[[int], None], int]:
    """A function that takes step n of a new classifier, and the number of operations with a dense output.

    Args:
        classes: C.
        size: D.
        sampled: classes of a step; 0 for the full softmax.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from itembed_tf.config import Stage
    from itembed_tf.models.classifier import SharedClassifier
    from itembed_tf.training.averages import Averages
    from itembed_tf.training.optimizer import make_optimizer
    from itembed_tf.training.step import compiled_step

    inputs: dict[str, Any] = {f"{side}_features": keras.Input((size,), name=f"{side}_features") for side in SIDES}
    classifier = SharedClassifier(classes, size, 20.0, False, initializer="zeros", sampled=sampled, name="classifier")
    drawn = {"drawn": keras.Input((), name="drawn", dtype="int32")} if sampled else {}
    normalise = keras.layers.LayerNormalization(name="normalise")
    features = {side: normalise(inputs[f"{side}_features"]) for side in SIDES}
    logits = classifier(features, **drawn)
    outputs = {f"{side}_logits": logits[side] for side in SIDES}
    outputs |= {f"{side}_embedding": keras.layers.UnitNormalization()(features[side]) for side in SIDES}
    network = keras.Model(inputs | drawn, outputs)
    random = np.random.default_rng(0)
    for start in range(0, classes, CHUNK):  # in place: two copies of a million rows would be 16 GB
        rows = np.arange(start, min(start + CHUNK, classes))
        chunk = random.standard_normal((len(rows), size), np.float32)
        classifier.class_weights.value.scatter_update(tf.IndexedSlices(chunk, rows))
    stage = Stage(optimizer="sgd", learning_rate=0.1, schedule="constant", weight_decay=0.0)
    own = id(classifier.class_weights)
    optimizer = make_optimizer(
        stage, steps_per_epoch=100, part_of=lambda v: ["classifier"] if id(v) == own else [], loss_scaling=False
    )
    optimizer.build(network.trainable_variables)
    step = compiled_step(network, optimizer, Averages([], 0.0), stage)

    def batch(number: int) -> dict[str, tf.Tensor]:
        arrays: dict[str, Any] = {
            f"{side}_features": random.standard_normal((BATCH, size), np.float32) for side in SIDES
        }
        arrays["classes"] = random.integers(0, classes, BATCH).astype(np.int32)
        arrays["seed"] = np.array([0, number], np.int32)
        return {name: tf.constant(array) for name, array in arrays.items()}

    graph = step.get_concrete_function(batch(0)).graph  # type: ignore[attr-defined]
    dense = [
        op for op in graph.get_operations() for out in op.outputs if out.shape.rank and out.shape == (classes, size)
    ]

    def take(number: int) -> None:
        if not bool(tf.math.is_finite(step(batch(number))["loss"])):
            raise SystemExit("the loss is not finite")

    return take, len(dense)


def measure(pair: Sequence[Sequence[int]], steps: int) -> dict[str, Any]:
    """Take the steps of two classifiers (classes, size, sampled) in turn; seconds of each, dense operations, memory."""
    import resource

    takers, dense = zip(*(training_step(*settings) for settings in pair), strict=True)
    for take in takers:
        take(0)  # traces and compiles
    times: list[list[float]] = [[], []]
    for number in range(1, steps + 1):
        for take, of_one in zip(takers, times, strict=True):
            started = time.perf_counter()
            take(number)
            of_one.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": times, "dense": dense, "gib": peak}


def measured(pair: Sequence[Sequence[int]], steps: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.class_scale", "--pair", json.dumps([pair, steps])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"class_scale: the process of {pair} ended with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for (classes, size, sampled), seconds, dense in zip(pair, found["seconds"], found["dense"], strict=True):
        what = f"{sampled:,} sampled" if sampled else "full"
        print(
            f"{classes:9,} classes x {size:,}, {what:>14}: {1000 * statistics.median(seconds):8.1f} ms a step "
            f"({1000 * min(seconds):.1f} to {1000 * max(seconds):.1f}), dense operations {dense}",
            flush=True,
        )
    print(f"{'':9} peak memory of both {found['gib']:.1f} GiB", flush=True)
    return found


def ratio(seconds: Sequence[Sequence[float]]) -> float:
    """Median over the steps of the first classifier's time divided by the second's of the same turn."""
    return statistics.median(one / other for one, other in zip(*seconds, strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=1_000_000, help="classes of the large classifier")
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each")
    parser.add_argument("--quick", action="store_true", help="small sizes; only the dense operations have a bar")
    parser.add_argument("--pair", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.pair:
        print(json.dumps(measure(*json.loads(args.pair))))
        return 0
    print_versions()
    classes, large, size = (CLASSES // 100, args.large // 100, 64) if args.quick else (CLASSES, args.large, SIZE)
    sampled = round(SHARE * classes)
    against_full = measured([(classes, size, sampled), (classes, size, 0)], args.steps)
    against_large = measured([(large, size, sampled), (classes, size, sampled)], args.steps)
    faster, larger, memory = ratio(against_full["seconds"]), ratio(against_large["seconds"]), against_large["gib"]
    dense = against_full["dense"][0] + sum(against_large["dense"])
    with tempfile.TemporaryDirectory() as folder:
        shares = sharded_classifier.measure((2,) if args.quick else (2, 4), Path(folder))
    apart = max(max(share.losses, share.weights) for share in shares)
    halved = all(share.memory <= 1.001 / share.workers for share in shares)  # the last share is filled up
    ok = args.quick or (faster <= BAR_SAMPLED and larger <= BAR_LARGE and memory <= BAR_MEMORY)
    held = " and ".join(f"{share.memory:.3f}" for share in shares)
    figure = f"{faster:.3f} x the full step, {larger:.2f} x with {large:,} classes in {memory:.1f} GiB, {dense} dense"
    figure += f", sharded {apart:.1e} apart with {held} of the bytes"
    parts = " and ".join(f"1/{share.workers}" for share in shares)
    bar = f"{BAR_SAMPLED} x, {BAR_LARGE} x, {BAR_MEMORY:.0f} GiB, 0, {BAR_SHARDED:.0e} with {parts}"
    return verdict("class_scale", figure, bar, ok and not dense and apart <= BAR_SHARDED and halved)


if __name__ == "__main__":
    sys.exit(main())
