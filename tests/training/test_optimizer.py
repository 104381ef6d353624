"""Optimisers: steps by hand, a NumPy reference, loss scaling, sparse gradients, and restored state."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.config import Stage
from itembed_tf.training.optimizer import make_optimizer, variable_index
from itembed_tf.training.schedule import EpochSchedule

PLAIN = Stage(
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=0.0,
    schedule="constant",
    decay_epochs=(),
    epochs=10,
)


def make(variables, part_of=lambda variable: (), steps_per_epoch=5, loss_scaling=False, **changes):
    optimizer = make_optimizer(
        dataclasses.replace(PLAIN, **changes),
        steps_per_epoch=steps_per_epoch,
        part_of=part_of,
        loss_scaling=loss_scaling,
    )
    optimizer.build(variables)
    return optimizer


def variable(value, name="w"):
    return keras.Variable(np.asarray(value, np.float32), name=name)


def parts_by_name(variable):
    return tuple(variable.name.split("-"))


def rates(steps, **changes):
    schedule = EpochSchedule(**{**schedule_settings(), **changes})
    return [float(schedule(step)) for step in steps]


def schedule_settings():
    names = ("learning_rate", "schedule", "warmup_epochs", "decay_epochs", "decay_factor", "epochs")
    return {name: getattr(PLAIN, name) for name in names} | {"steps_per_epoch": 5}


def test_two_nesterov_steps_with_multipliers_and_l2_by_hand():
    # rate .1 x text_tower .5 x gamma 2 = .1; momentum .5; L2 .1; both gradients 1.
    # 1: w 1, g = 1 + .1 = 1.1; v = -1.1; w += .1 (.5 x -1.1 - 1.1) = -.165 -> .835
    # 2: g = 1 + .0835 = 1.0835; v = -.55 - 1.0835 = -1.6335; w += .1 (-.81675 - 1.0835) = -.190025 -> .644975
    w = variable(1.0, "text_tower-gamma")
    untouched = variable([2.0], "backbone")
    multipliers = {"text_tower": 0.5, "gamma": 2.0, "backbone": 0.0}
    optimizer = make([w, untouched], momentum=0.5, weight_decay=0.1, multipliers=multipliers, part_of=parts_by_name)
    optimizer.apply([tf.constant(1.0), tf.constant([1.0])])
    assert float(w) == pytest.approx(0.835, rel=1e-6)
    optimizer.apply([tf.constant(1.0), tf.constant([math.inf])])
    assert float(w) == pytest.approx(0.644975, rel=1e-6)
    assert untouched.numpy().tolist() == [2.0]  # multiplier 0: neither weight decay nor the infinite gradient counts


def test_sgd_with_a_constant_rate_matches_keras():
    ours, theirs = variable([1.0, -2.0]), variable([1.0, -2.0])
    optimizer = make([ours])
    reference = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    reference.build([theirs])
    for step in range(5):
        gradient = tf.constant([0.3 * step, 1.0 - step])
        optimizer.apply([gradient])
        reference.apply([gradient])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_rate_decay_also_scales_the_accumulated_momentum():
    # rate 1 for a step, then 0: the momentum accumulated at rate 1 must not change the variable any more
    w = variable(0.0)
    optimizer = make([w], learning_rate=1.0, schedule="steps", decay_epochs=(1,), decay_factor=0.0, steps_per_epoch=1)
    optimizer.apply([tf.constant(1.0)])
    after_one = float(w)
    optimizer.apply([tf.constant(1.0)])
    assert after_one == pytest.approx(-1.9) and float(w) == after_one


def test_sgd_without_momentum_by_hand():
    w = variable([1.0])
    make([w], momentum=0.0).apply([tf.constant([2.0])])
    assert w.numpy() == pytest.approx([0.8])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw_match_a_numpy_reference(name):
    rng = np.random.default_rng(0)
    starts = {"words": rng.normal(size=(3, 2)), "gamma": rng.normal(size=2)}
    variables = [variable(start, part) for part, start in starts.items()]
    optimizer = make(
        variables,
        optimizer=name,
        learning_rate=0.01,
        weight_decay=0.1,
        multipliers={"words": 0.1, "gamma": 3.0},
        part_of=parts_by_name,
        schedule="cosine",
        epochs=2,
    )
    states = {part: [start.copy(), np.zeros_like(start), np.zeros_like(start)] for part, start in starts.items()}
    for step in range(1, 8):
        rate = 0.01 * (1 + math.cos(math.pi * (step - 1) / 10)) / 2
        gradients = []
        for part, state in states.items():
            w, first, second = state
            own = rate * {"words": 0.1, "gamma": 3.0}[part]
            gradient = rng.normal(size=w.shape)
            gradients.append(tf.constant(gradient, tf.float32))
            if name == "adam":
                gradient = gradient + 0.1 * w  # L2 in the gradient of every variable
            elif w.ndim == 2:
                w = w - own * 0.1 * w  # decoupled, matrices only
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            # Keras corrects the bias in the rate, so its epsilon is added to the uncorrected root
            corrected = own * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            states[part] = [w - corrected * first / (np.sqrt(second) + 1e-7), first, second]
        optimizer.apply(gradients)
    for variable_, part in zip(variables, starts):
        np.testing.assert_allclose(variable_, states[part][0], rtol=2e-5, atol=1e-7)


def test_schedules_by_hand():
    # 5 steps an epoch; base rate .1
    assert rates([0, 49], schedule="constant") == pytest.approx([0.1, 0.1])
    steps = {"schedule": "steps", "decay_epochs": (2, 4), "decay_factor": 0.1}
    assert rates([0, 9, 10, 19, 20, 49], **steps) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert rates([0, 25, 50, 80], schedule="cosine") == pytest.approx([0.1, 0.05, 0.0, 0.0], abs=1e-8)
    # linear warmup over 2 epochs from 0, then a cosine over the remaining 8: half at epoch 6
    warm = {"schedule": "cosine", "warmup_epochs": 2.0}
    assert rates([0, 1, 5, 10, 30, 50], **warm) == pytest.approx([0.0, 0.01, 0.05, 0.1, 0.05, 0.0], abs=1e-8)
    assert rates([0, 1, 2, 3], schedule="constant", warmup_epochs=0.4) == pytest.approx([0, 0.05, 0.1, 0.1])


def test_schedule_is_serializable_and_sets_the_rate_of_the_optimizer():
    settings = {**schedule_settings(), "schedule": "steps", "decay_epochs": (1,), "warmup_epochs": 0.4}
    schedule = EpochSchedule(**settings)
    serialized = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(serialized)
    assert [float(again(step)) for step in range(9)] == [float(schedule(step)) for step in range(9)]
    w = variable([0.0])
    optimizer = make([w], schedule="steps", decay_epochs=(1,), warmup_epochs=0.4)
    for step in range(7):
        assert float(optimizer.learning_rate) == pytest.approx(float(schedule(step)))
        optimizer.apply([tf.constant([0.0])])


def test_clip_norm_applies_to_the_global_norm():
    # gradients (3) and (4) have norm 5: at most 1 makes them .6 and .8
    first, second = variable([0.0]), variable([0.0])
    optimizer = make([first, second], momentum=0.0, learning_rate=1.0, clip_norm=1.0)
    optimizer.apply([tf.constant([3.0]), tf.constant([4.0])])
    assert [float(first[0]), float(second[0])] == pytest.approx([-0.6, -0.8])


@pytest.mark.parametrize("loss_scaling", [False, True])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_sparse_gradients_match_dense_ones(name, loss_scaling):
    # word 1 occurs twice, with gradients 1 and 2: norm and squares must use their sum, 3
    table, dense_table = variable(np.ones((4, 1))), variable(np.ones((4, 1)))
    changes = {"optimizer": name, "clip_norm": 2.0, "weight_decay": 0.01, "loss_scaling": loss_scaling}
    sparse, dense = make([table], **changes), make([dense_table], **changes)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table.value, [1, 1, 3]) * [[1.0], [2.0], [0.5]])
            loss = sparse.scale_loss(loss)
        gradient = tape.gradient(loss, table.value)
        assert isinstance(gradient, tf.IndexedSlices)
        sparse.apply([gradient])

    for _ in range(3):
        step()
        dense.apply([dense.scale_loss(tf.constant([[0.0], [3.0], [0.0], [0.5]]))])
    np.testing.assert_allclose(table, dense_table, rtol=1e-6)
    assert float(table[1, 0]) < float(table[3, 0]) < 1


def small_model():
    inputs = keras.Input([3], dtype="int32")
    x = keras.layers.Embedding(7, 4, name="words")(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Dense(5)(keras.layers.Flatten()(x)))
    return keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(x))


def train_step(model, optimizer, jit):
    @tf.function(jit_compile=jit, autograph=False)
    def step(ids, target):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(ids, training=True) - target) ** 2)
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
        return loss

    return step


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("name", "loss_scaling"), [("sgd", False), ("adamw", False), ("adamw", True)])
def test_restored_optimizer_continues_bit_for_bit(name, loss_scaling, jit):
    changes = {
        "optimizer": name,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "multipliers": {"words": 0.1},
        "part_of": lambda variable: ("words",) if "words" in variable.path else (),
        "loss_scaling": loss_scaling,
    }
    rng = np.random.default_rng(0)
    batches = [(rng.integers(0, 7, (8, 3)), rng.normal(size=(8, 2)).astype(np.float32)) for _ in range(6)]
    model = small_model()
    start = model.get_weights()

    def run(parts):
        model.set_weights(start)
        saved = None
        for part in parts:
            optimizer = make(model.trainable_variables, **changes)
            if saved is not None:
                assert len(saved) == len(optimizer.variables)
                for state, value in zip(optimizer.variables, saved):
                    state.assign(value)
            step = train_step(model, optimizer, jit)
            for batch in part:
                step(*map(tf.constant, batch))
            saved = [state.numpy() for state in optimizer.variables]
        return model.get_weights() + saved

    uninterrupted, continued = run([batches]), run([batches[:4], batches[4:]])
    for one, other in zip(uninterrupted, continued):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(uninterrupted[0], start[0])


def test_loss_scaling_recovers_from_a_float16_overflow():
    # activations of 1,000 and a first loss scale of 32,768: float16 gradients overflow until the scale has been halved
    inputs = keras.Input([4])
    hidden = keras.layers.Dense(4, dtype="mixed_float16", kernel_initializer="identity")(inputs)
    model = keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(hidden))
    optimizer = make(model.trainable_variables, optimizer="adam", learning_rate=0.01, loss_scaling=True)
    before = [value.copy() for value in model.get_weights()]
    batch = tf.fill([2, 4], 1000.0)
    losses, skipped = [], 0
    for _ in range(60):
        done = int(optimizer.iterations)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(model(batch)))
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
        losses.append(float(loss))
        if int(optimizer.iterations) == done:
            skipped += 1
            assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
    assert 1 <= skipped < 30
    assert float(optimizer.dynamic_scale) == 2.0 ** (15 - skipped)
    assert losses[-1] < 0.9 * losses[0] and np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adagrad"}, "optimizer must be sgd, adam or adamw, and is 'adagrad'"),
        ({"schedule": "linear"}, "schedule must be constant, steps or cosine, and is 'linear'"),
        ({"multipliers": {"txt_tower": 0.1}}, "unknown part 'txt_tower'; allowed: backbone"),
        ({"multipliers": {"words": -1.0}}, "words must be a finite number >= 0"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1"),
        ({"schedule": "cosine", "warmup_epochs": 10.0}, "leaves nothing of epochs = 10 for the cosine"),
        ({"clip_norm": -1.0}, "clip_norm must be >= 0"),
    ],
)
def test_invalid_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make([], **changes)


def test_variable_index():
    """`variable_index` uses a private method of Keras: multipliers and momenta need the position from update_step."""
    seen = []

    class Watch(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            seen.append(variable_index(self, variable))

    variables = [variable(1.0, "a"), variable(2.0, "b")]
    optimizer = Watch()
    optimizer.build(variables)
    optimizer.apply([tf.constant(1.0), tf.constant(1.0)])
    tf.function(lambda: optimizer.apply([tf.constant(1.0), tf.constant(1.0)]))()
    assert seen == [0, 1, 0, 1]


def test_variable_paths_do_not_depend_on_earlier_optimizers():
    """Checkpoints store variables by path, and Keras numbers optimisers without a name."""
    paths = [[v.path for v in make([variable(1.0)], loss_scaling=True).variables] for _ in range(2)]
    assert paths[0] == paths[1] and len(set(paths[0])) == len(paths[0])
