"""A program: trains a tiny model on one device and on two logical ones, and prints how much they differ, as JSON.

A process of its own, as TensorFlow's devices are set before it is used for the first time.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.config import parse_losses
from itembed_tf.data.batches import batches, draw_epoch, share_of
from itembed_tf.training.checkpoints import Arrays
from itembed_tf.training.distributed_step import parts_of_batches
from itembed_tf.training.distribution import ONE, Replicas, open_replicas
from itembed_tf.training.stage import train_stage
from itembed_tf.training.state import StageState
from tests.support.toy_model import dual_path
from tests.training import test_stage

PAIRS = ("ranking", "ranking_max", "infonce", "topk_text")
SHARDED = {"softmax": "sharded", "bias": True, "dropout": 0.3, "scale": 10.0}
CASES: dict[str, dict[str, Any]] = {
    "full": {
        "model": {"dropout": 0.5},
        "captions": 2,
        "losses": {"instance_image": 1.0, "instance_text": 1.0} | dict.fromkeys(PAIRS, 1.0),
        "clip_norm": 0.5,
        "average": 0.9,
    },
    "mined and sampled": {
        "model": {"softmax": "sampled", "sampled_classes": 6},
        "losses": {"ranking": 1.0, "instance_image": 1.0, "instance_text": 1.0},
        "mining": 4,
        "clip_norm": 0.5,
    },
    "sharded": {
        "model": SHARDED,
        "captions": 2,
        "losses": {"instance_image": {"weight": 1.0, "label_smoothing": 0.1}, "instance_text": 1.0},
        "clip_norm": 0.1,
        "average": 0.9,
        "multipliers": {"classifier": 0.5},
    },
}
CLASSES = 13  # an odd number: the last share has a row without a class


def trained(
    replicas: Replicas,
    *,
    model: dict[str, Any] | None = None,
    captions: int = 1,
    resume: tuple[StageState, Arrays] | None = None,
    **changes: Any,
) -> tuple[list[dict[str, float]], tuple[StageState, Arrays], tuple[StageState, Arrays]]:
    """The figures of each epoch, and a checkpoint of the first epoch's end and one of the last's."""
    losses = {"losses": parse_losses(changes.pop("losses"))} if "losses" in changes else {}
    stage = dataclasses.replace(
        test_stage.settings(epochs=2, checkpoint_minutes=0.0, learning_rate=1e-3),
        **(changes | losses),  # type: ignore[arg-type]
    )
    with replicas.scope():
        network = dual_path((1,), classes=CLASSES, shards=replicas.count, **(model or {}))
    items, ids, pixels = test_stage.data()
    saved: list[tuple[StageState, Arrays]] = []

    def load(images: np.ndarray, seeds: np.ndarray) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices({"image": pixels[images]})

    def of_epoch(epoch: int, first: int) -> Any:
        place = {"batch_size": stage.batch_size, "mining": stage.mining, "seed": (0, 0, epoch)}
        drawn = draw_epoch(items, ids, captions=captions, shift=True, word_dropout=0.0, **place)
        if replicas.count == 1:
            return batches(drawn, first, load, test_stage.CLASSES)
        own = share_of(drawn, replicas.local, replicas.count)
        return parts_of_batches(batches(own, first * len(replicas.local), load, test_stage.CLASSES), replicas)

    history = train_stage(
        network,
        stage,
        batches=of_epoch,
        steps_per_epoch=test_stage.STEPS,
        evaluate=None,
        selection_score=len,
        trained=False,
        resume=resume and (resume[0], dict(resume[1])),  # the training empties it
        save=lambda state, arrays: saved.append((state, arrays)),
        report=lambda entry: None,
        replicas=replicas,
    )
    half = next((each for each in saved if each[0].epoch == 1 and each[0].step == 0), saved[0])
    return [dict(entry.train) for entry in history], half, saved[-1]


def _weights(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if name.startswith("model/") and "seed" not in name}


def difference(one: Any, other: Any) -> float:
    """The largest difference of two records of numbers or arrays with the same names; infinite where names differ."""
    if isinstance(one, list):
        return max(difference(a, b) for a, b in zip(one, other, strict=True))
    if one.keys() != other.keys() or any(np.shape(one[name]) != np.shape(other[name]) for name in one):
        return float("inf")
    return max(float(np.abs(np.subtract(one[name], other[name], dtype=np.float64)).max()) for name in one)


def main() -> None:
    first = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(first, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()
    two, found = open_replicas(), {}
    for name, case in CASES.items():
        history, half, last = trained(ONE, **case)
        history_of_two, half_of_two, last_of_two = trained(two, **case)
        found[name] = {
            "losses": difference(history, history_of_two),
            "variables": difference(last[1], last_of_two[1]),
            "moved": difference(_weights(half[1]), _weights(last[1])),
        }
        if name == "sharded":
            on_one = trained(ONE, resume=half_of_two, **case)
            on_two = trained(two, resume=half, **case)
            full = trained(two, resume=half_of_two, **(case | {"model": SHARDED | {"softmax": "full"}}))
            for what, resumed in (("one", on_one), ("two", on_two), ("full", full)):
                found[f"resumed on {what}"] = {
                    "losses": difference(history[1], resumed[0][1]),
                    "variables": difference(last[1], resumed[2][1]),
                }
    print(json.dumps({"replicas": two.count, "found": found}))


if __name__ == "__main__":
    sys.exit(main())
