"""Sampled softmax: which classes are drawn, the loss and gradient against the full softmax, and rows left untouched."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.config import Stage, parse_losses
from itembed_tf.training.averages import Averages, averaged_variables
from itembed_tf.training.freezing import part_names
from itembed_tf.training.losses import instance_loss
from itembed_tf.training.optimizer import make_optimizer
from itembed_tf.training.sampling import draw_classes
from itembed_tf.training.step import compiled_step
from tests.support.toy_model import LENGTH, SIZE, WORDS, dual_path

CLASSES, BATCH = 60, 4
STAGE = Stage(epochs=2, batch_size=BATCH, freeze=("backbone",), learning_rate=0.01, schedule="constant")
SGD = {"optimizer": "sgd", "weight_decay": 1e-3}
SGD_CLIPPED = SGD | {"clip_norm": 0.5}


def draw(kept: list[int], count: int, step: int = 0, classes: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    drawn, stands_for = draw_classes(tf.constant(kept), classes=classes, count=count, seed=tf.constant([5, step]))
    return drawn.numpy(), stands_for.numpy()


def test_classes_of_the_batch_are_always_drawn_and_others_with_the_given_probability() -> None:
    kept, times = [7, 990, 7, 3], np.zeros(1000)
    for step in range(400):
        drawn, stands_for = draw(kept, 100, step)
        assert (np.diff(drawn) > 0).all() and drawn.dtype == np.int32
        assert set(kept) <= set(drawn)
        assert all((weight == 1.0) == (c in kept) for c, weight in zip(drawn, stands_for, strict=True))
        assert stands_for.max() == pytest.approx(10)
        times[drawn] += 1
    others = np.delete(times, [3, 7, 990])
    assert others.mean() == pytest.approx(40, abs=4 * np.sqrt(400 * 0.1 * 0.9 / 997))
    assert others.std() == pytest.approx(np.sqrt(400 * 0.1 * 0.9), rel=0.1)  # of independent draws
    assert np.array_equal(draw(kept, 100, 1)[0], draw(kept, 100, 1)[0])


@pytest.mark.parametrize("count", [1000, 5000])
def test_all_classes_are_drawn_where_the_sample_is_as_large(count: int) -> None:
    drawn, stands_for = draw([1, 2], count)
    assert np.array_equal(drawn, np.arange(1000)) and (stands_for == 1).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_gradient_equal_the_full_ones_in_expectation(smoothing: float) -> None:
    """The sum over classes is unbiased; loss and gradient are close to the full ones, and not so uncorrected.

    The mean of the logarithm of an unbiased estimate is below its logarithm, by half the estimate's relative variance:
    0.01 with these logits, 0.1 with logits twice as large.
    """
    random = np.random.default_rng(0)
    weights, f = tf.constant(random.normal(size=(400, 8)), tf.float32), tf.constant(random.normal(size=(3, 8)))
    f, labels = tf.cast(f, tf.float32) * 0.35, np.array([5, 17, 399])

    def of(drawn: np.ndarray, counts: Any) -> tuple[float, np.ndarray]:
        with tf.GradientTape() as tape:
            tape.watch(f)
            logits = tf.matmul(f, tf.gather(weights, drawn), transpose_b=True)
            position = np.searchsorted(drawn, labels)
            loss = instance_loss(logits, position, label_smoothing=smoothing, stands_for=counts)
        return float(loss), tape.gradient(loss, f).numpy()

    full, full_gradient = of(np.arange(400), None)
    draws = [draw(labels.tolist(), 100, step, classes=400) for step in range(300)]
    found = [of(*each) for each in draws]
    plain = [of(drawn, None) for drawn, _ in draws]
    gradient = np.mean([g for _, g in found], axis=0)
    assert np.mean([loss for loss, _ in found]) == pytest.approx(full, abs=0.03)
    assert full - np.mean([loss for loss, _ in plain]) > 0.8
    assert np.abs(gradient - full_gradient).max() < 0.02 < np.abs(full_gradient).max() / 5
    logits = (f @ tf.transpose(weights)).numpy()[0]
    sums = np.array([(np.exp(logits[drawn]) * counts).sum() for drawn, counts in draws])
    error = sums.std() / np.sqrt(len(sums))
    assert sums.mean() == pytest.approx(np.exp(logits).sum(), abs=4 * error) and error < 0.03 * sums.mean()


def batch(step: int) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(step)
    arrays = {
        "image": random.uniform(0, 255, (BATCH, SIZE, SIZE, 3)).astype(np.float32),
        "ids": random.integers(1, WORDS, (BATCH, LENGTH)).astype(np.int32),
        "classes": random.integers(0, CLASSES, BATCH).astype(np.int32),
        "seed": np.array([3, step], np.int32),
        "candidate_ids": random.integers(1, WORDS, (6, LENGTH)).astype(np.int32),
        "candidate_classes": random.integers(0, CLASSES, 6).astype(np.int32),
    }
    return {name: tf.constant(array) for name, array in arrays.items()}


def trained(steps: int, count: int, stage: Stage, **model_settings: Any) -> tuple[keras.Model, Any, list[float]]:
    """A model after some steps, its optimiser, and the losses; count 0: the full softmax."""
    softmax = {"softmax": "sampled", "sampled_classes": count} if count else {}
    model = dual_path((1,), **({"classes": CLASSES, "scale": 10.0} | model_settings | softmax))
    optimizer = make_optimizer(
        stage,
        steps_per_epoch=10,
        part_of=part_names(model),
        loss_scaling=model.dtype_policy.name == "mixed_float16",
    )
    optimizer.build(model.trainable_variables)
    averages = Averages(averaged_variables(model), stage.average)
    step = compiled_step(model, optimizer, averages, stage)
    return model, optimizer, [float(step(batch(number))["loss"]) for number in range(steps)]


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        (SGD_CLIPPED, {"bias": True}),
        ({"weight_decay": 0.1, "clip_norm": 0.5}, {}),
        ({"optimizer": "adam", "mining": 6}, {"scale": 0.0, "bias": True}),
    ],
    ids=["sgd", "adamw", "adam"],
)
def test_steps_with_all_classes_drawn_equal_those_of_the_full_softmax(changes: Any, model: Any) -> None:
    """Losses and weights: the rows' update is the dense one, and so are clipping, decay and mining.

    Adam makes steps of full size of the rounding in gradients that are zero, such as those of a bias before a batch
    norm, so that other weights than those of the classes differ.
    """
    stage = dataclasses.replace(STAGE, **changes)
    full, _, full_losses = trained(4, 0, stage, **model)
    sampled, _, losses = trained(4, CLASSES, stage, **model)
    np.testing.assert_allclose(losses, full_losses, rtol=1e-5 if changes is SGD_CLIPPED else 1e-3)
    compared = (lambda m: m.variables) if changes is SGD_CLIPPED else lambda m: m.get_layer("classifier").variables
    for one, two in zip(compared(full), compared(sampled), strict=True):
        atol = 2e-5 if changes is SGD_CLIPPED else 2e-3  # of steps of 0.01
        np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=1e-4, atol=atol, err_msg=one.path)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_an_update_of_all_rows_equals_the_dense_update(name: str) -> None:
    """Four steps with the same gradient, once dense and once as rows in another order: the same values and moments."""
    random, order = np.random.default_rng(0), np.array([2, 0, 1])
    start, gradients = random.normal(size=(3, 4)), random.normal(size=(4, 3, 4)).astype(np.float32)
    stage = dataclasses.replace(STAGE, optimizer=name, weight_decay=0.1, clip_norm=1.0)
    states = []
    for rows in (False, True):
        variable = keras.Variable(start, dtype="float32", name="class_weights")
        optimizer = make_optimizer(stage, steps_per_epoch=9, part_of=lambda v: ["classifier"], loss_scaling=False)
        optimizer.build([variable])
        for gradient in gradients:
            sparse = tf.IndexedSlices(tf.constant(gradient[order]), tf.constant(order), tf.constant([3, 4]))
            optimizer.apply([sparse if rows else tf.constant(gradient)])
        states.append([v.numpy() for v in (variable, *optimizer.variables) if len(v.shape) == 2])
    assert len(states[0]) == (2 if name == "sgd" else 3)
    for dense, of_rows in zip(*states, strict=True):
        np.testing.assert_allclose(of_rows, dense, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("changes", [SGD, {"weight_decay": 0.1}], ids=["sgd", "adamw"])
def test_a_step_leaves_other_rows_and_their_moments_bit_identical(changes: Any) -> None:
    stage = dataclasses.replace(STAGE, **changes, average=0.9)
    model, optimizer, _ = trained(0, 12, stage, bias=True)
    step = compiled_step(model, optimizer, Averages([], 0.0), stage)
    step(batch(0))
    own = model.get_layer("classifier").variables
    rows = [v for v in (*own, *optimizer.variables) if len(v.shape) and v.shape[0] == CLASSES]
    assert len(rows) == len(own) * (2 if changes is SGD else 3)  # with the moments
    before = [v.numpy() for v in rows]
    step(batch(1))
    drawn, _ = draw_classes(batch(1)["classes"], classes=CLASSES, count=12, seed=batch(1)["seed"])
    others = np.setdiff1d(np.arange(CLASSES), drawn)
    assert len(others) > CLASSES / 2
    for variable, old in zip(rows, before, strict=True):
        changed = np.flatnonzero(np.any(variable.numpy().reshape(CLASSES, -1) != old.reshape(CLASSES, -1), axis=1))
        assert set(changed) <= set(drawn.numpy()) and len(changed) > len(drawn) / 2, variable.path
    assert not any(v is own[0] for v in averaged_variables(model)) and averaged_variables(model)


def test_no_dense_gradient_is_made() -> None:
    """No operation of the step has an output of the size of the class weights, other than the variables themselves."""
    stage = dataclasses.replace(STAGE, **SGD, clip_norm=1.0)
    model, optimizer, _ = trained(0, 12, stage)
    graph = compiled_step(model, optimizer, Averages([], 0.0), stage).get_concrete_function(batch(0)).graph
    size = tuple(model.get_layer("classifier").class_weights.shape)
    dense = [op.name for op in graph.get_operations() for out in op.outputs if out.shape.rank and out.shape == size]
    assert not dense


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_a_sampled_classifier(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    stage = dataclasses.replace(STAGE, losses=parse_losses({"instance_image": 1.0, "instance_text": 1.0}))
    model, _, losses = trained(25, 20, stage)
    assert np.isfinite(losses).all()
    assert model.get_layer("classifier").class_weights.dtype == "float32"


def test_xla_is_refused() -> None:
    model = dual_path((1,), softmax="sampled", sampled_classes=2)
    with pytest.raises(ValueError, match="jit = true needs shapes that are known before the step"):
        compiled_step(model, None, Averages([], 0.0), dataclasses.replace(STAGE, jit=True))
