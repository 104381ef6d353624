"""The exact classifier sharded over worker processes, against all classes in one: losses, weights, memory.

Run by `benchmarks.class_scale`. The step is that of a training without towers: image and text features with a layer
normalisation, both instance losses over all classes, SGD with momentum.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.worker_processes import run_workers

CLASSES, SIZE, BATCH, STEPS = 2_003, 256, 12, 20  # an odd number of classes: the last share is filled up
SIDES = ("image", "text")


class Sharded(NamedTuple):
    """What so many workers differ by from one, in losses and in weights, and the share of the bytes that each holds."""

    workers: int
    losses: float
    weights: float
    memory: float


def measure(sizes: Sequence[int], place: Path) -> list[Sharded]:
    """Train with one process and with each number of workers.

    Raises:
        SystemExit: a worker failed.
    """
    runs = {size: _trained(size, place / str(size)) for size in (1, *sizes)}
    losses, weights, whole = runs[1]
    found = []
    for size in sizes:
        others, other_weights, own = runs[size]
        apart = max(abs(one - other) for one, other in zip(losses, others, strict=True))
        found.append(Sharded(size, apart, float(np.abs(weights - other_weights).max()), max(own) / whole[0]))
        print(
            f"{CLASSES:9,} classes x {SIZE:,}, exact, sharded over {size} workers: {STEPS} losses differ from those of "
            f"one by {apart:.1e}, weights by {found[-1].weights:.1e}; {found[-1].memory:.4f} of the bytes in each",
            flush=True,
        )
    return found


def _trained(workers: int, place: Path) -> tuple[list[float], np.ndarray, list[int]]:
    """Losses of all steps, the class weights in class order, and the bytes of the classifier in each worker."""
    codes = run_workers(workers, train_as_worker, place, logs=place)
    if any(codes):
        shown = "\n".join(file.read_text(encoding="utf-8")[-1500:] for file in place.glob("*.log"))
        raise SystemExit(f"{workers} workers ended with {codes}:\n{shown}")
    files = [json.loads((place / f"{number}.json").read_text(encoding="utf-8")) for number in range(workers)]
    return files[0]["losses"], np.load(place / "weights.npy"), [file["bytes"] for file in files]


def train_as_worker(number: int, place: Path) -> int:
    """Take the steps, in a worker process."""
    import tensorflow as tf

    from itembed_tf.models.replicas import components
    from itembed_tf.training.distributed_step import distributed_step
    from itembed_tf.training.distribution import open_replicas
    from itembed_tf.training.requests import Requests
    from itembed_tf.training.shared_weights import full_value

    replicas = open_replicas()
    with replicas.scope():
        classifier, optimizer, step = classifier_step(replicas.count)
    take: Any = step
    if replicas.count > 1:
        take = distributed_step(step, replicas, Requests())
    losses = []
    for count in range(STEPS):
        random = np.random.default_rng(count)
        whole: dict[str, np.ndarray] = {
            f"{side}_features": random.standard_normal((BATCH, SIZE), np.float32) for side in SIDES
        }
        whole["classes"] = random.integers(0, CLASSES, BATCH).astype(np.int32)
        own = {name: tf.constant(np.array_split(array, replicas.count)[number]) for name, array in whole.items()}
        losses.append(float(take([own] if replicas.count > 1 else own)["loss"]))
    weights = full_value(classifier.class_weights, replicas)
    if number == 0:
        np.save(place / "weights.npy", weights)
    held = [classifier.class_weights, optimizer.momentums[_position(optimizer, classifier)]]
    size = sum(int(np.prod(own.shape)) * own.dtype.size for each in held for own in components(each))
    (place / f"{number}.json").write_text(json.dumps({"losses": losses, "bytes": size}), encoding="utf-8")
    return 0


def classifier_step(shards: int) -> tuple[Any, Any, Any]:
    """The classifier, its optimiser and the step, which is compiled by the caller where there are several shards."""
    import keras
    import tensorflow as tf

    from itembed_tf.config import Stage
    from itembed_tf.models.classifier import SharedClassifier
    from itembed_tf.training.averages import Averages
    from itembed_tf.training.optimizer import make_optimizer
    from itembed_tf.training.step import training_step

    inputs = {f"{side}_features": keras.Input((SIZE,), name=f"{side}_features") for side in SIDES}
    start = keras.initializers.RandomNormal(seed=1)
    classifier = SharedClassifier(CLASSES, SIZE, 20.0, False, initializer=start, shards=shards, name="classifier")
    normalise = keras.layers.LayerNormalization(name="normalise")
    features = {side: normalise(inputs[f"{side}_features"]) for side in SIDES}
    logits = classifier(features)
    outputs = {f"{side}_logits": logits[side] for side in SIDES}
    outputs |= {f"{side}_embedding": keras.layers.UnitNormalization()(features[side]) for side in SIDES}
    network = keras.Model(inputs, outputs)
    stage = Stage(optimizer="sgd", learning_rate=0.1, schedule="constant", weight_decay=0.0)
    own = id(classifier.class_weights)
    optimizer = make_optimizer(
        stage, steps_per_epoch=100, part_of=lambda v: ["classifier"] if id(v) == own else [], loss_scaling=False
    )
    optimizer.build(network.trainable_variables)
    step = training_step(network, optimizer, Averages([], 0.0), stage)
    return classifier, optimizer, tf.function(step, autograph=False) if shards == 1 else step


def _position(optimizer: Any, classifier: Any) -> int:
    """Place of the class weights among the variables of the optimiser."""
    return next(
        place for place, variable in enumerate(optimizer._trainable_variables) if variable is classifier.class_weights
    )
