"""A loss or a weight that is not finite: the training stops, no checkpoint has it, and the batch is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.config import Stage
from itembed_tf.data.batches import Epoch, Items
from itembed_tf.training.checkpoints import Checkpoint, save_checkpoint
from itembed_tf.training.errors import RunError
from itembed_tf.training.failed_batch import stop_at
from itembed_tf.training.optimizer import make_optimizer
from itembed_tf.training.state import RunState, StageState
from itembed_tf.training.step_scalars import NotFinite, StepScalars, check_finite


def scalars_of(*losses: float) -> StepScalars:
    scalars = StepScalars(StageState(epoch=2))
    for loss in losses:
        scalars.add({"loss": tf.constant(loss), "infonce": tf.constant(2 * loss)})
        scalars.state.step += 1
    return scalars


def test_scalars_are_summed_when_they_are_read() -> None:
    scalars = scalars_of(1.0, 2.0)
    assert scalars.state.sums == {}
    scalars.read()
    scalars.read()
    assert scalars.state.sums == {"loss": 3.0, "infonce": 6.0} and not scalars.waiting


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_step_whose_loss_is_not_finite_is_found(value: float) -> None:
    scalars = scalars_of(1.0, value, math.nan)
    with pytest.raises(NotFinite, match=rf"epoch 3, step 2: loss {value}, infonce {value}") as found:
        scalars.read()
    assert (found.value.epoch, found.value.step) == (2, 1)
    assert scalars.state.sums == {"loss": 1.0, "infonce": 2.0}


def test_weights_are_checked_and_other_variables_are_not() -> None:
    state = StageState(step=4)
    seed = keras.Variable(np.array([1, 2], np.uint32), dtype="uint32", trainable=False)
    check_finite({"a": keras.Variable([1.0]), "seed": seed}, state)
    with pytest.raises(NotFinite, match=r"epoch 1, step 4: weights are not finite: b, c"):
        check_finite({"a": keras.Variable([1.0]), "b": keras.Variable([np.nan]), "c": keras.Variable([np.inf])}, state)


def test_the_batch_is_written_and_the_last_good_checkpoint_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(RunState(), {}))
    items = Items(["a.jpg", "b.jpg"], np.arange(2), ["a dog", "a cat", "two cats"], np.array([0, 1, 1]), ["a", "b"])
    none = np.zeros((2, 0), np.int32)
    images, captions = np.array([[0], [1]]), np.array([[0], [2]])
    drawn = Epoch(images, none, captions, none, images, none, none, none)
    error = NotFinite(0, 1, "loss nan")
    with pytest.raises(RunError) as stopped:
        stop_at(error, tmp_path, Stage(name="I", clip_norm=5.0), drawn, items, "float32")
    message = str(stopped.value)
    assert message.startswith("stage I, epoch 1, step 2: loss nan. The training has stopped; the last good checkpoint")
    assert "checkpoint-000001.npz" in message and "clip_norm (now 5)" in message and "\n" not in message
    content = json.loads((tmp_path / "failed_batch.json").read_text())
    assert content["images"] == [{"number": 1, "id": "b"}]
    assert content["captions"] == [{"number": 2, "text": "two cats"}]


def test_loss_scaling_skips_an_overflow_and_halves_the_scale() -> None:
    """Under float16 a gradient of inf changes neither weights nor the schedule; the next finite one does."""
    variable = keras.Variable([1.0])
    optimizer: Any = make_optimizer(
        Stage(optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.5, schedule="constant"),
        steps_per_epoch=5,
        part_of=lambda variable: (),
        loss_scaling=True,
    )
    optimizer.build([variable])
    scale = float(optimizer.scale_loss(1.0))
    optimizer.apply([tf.constant([np.inf])], [variable])
    assert variable.numpy().tolist() == [1.0] and float(optimizer.scale_loss(1.0)) == scale / 2
    assert int(optimizer.inner_optimizer.iterations) == 0
    optimizer.apply([tf.constant([scale / 2])], [variable])
    assert variable.numpy().tolist() == [0.5] and int(optimizer.inner_optimizer.iterations) == 1
