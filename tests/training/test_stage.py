"""One stage of training: frozen parts, losses, mining, the weights that are kept, checkpoints and resuming."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.config import LOSS_SETTINGS, Stage, parse_losses
from itembed_tf.config.losses import INSTANCE_LOSSES
from itembed_tf.data.batches import Items, batches, draw_epoch
from itembed_tf.data.sources import feature_source
from itembed_tf.errors import Terminated
from itembed_tf.interruption import resumable, uninterrupted
from itembed_tf.models.backbones import build_backbone
from itembed_tf.models.dual_path import parts
from itembed_tf.training.averages import Averages
from itembed_tf.training.checkpoints import Arrays
from itembed_tf.training.errors import RunError
from itembed_tf.training.freezing import freeze_parts, part_names
from itembed_tf.training.losses import LOSSES, hardest_candidate, ranking_loss
from itembed_tf.training.stage import train_stage
from itembed_tf.training.state import EpochEntry, StageState
from itembed_tf.training.step import compiled_step
from itembed_tf.training.step_scalars import NotFinite
from tests.support.toy_model import LENGTH, SIZE, WORDS, dual_path

IMAGES, BATCH = 12, 4
STEPS = IMAGES // BATCH
CLASSES = np.arange(IMAGES, dtype=np.int32)[::-1].copy()  # one class per group, in reverse order


def settings(**changes: Any) -> Stage:
    """Of a small stage. SGD: half of the time of tracing a step with AdamW is that of its updates."""
    toy = Stage(
        name="toy",
        epochs=2,
        batch_size=BATCH,
        freeze=(),
        optimizer="sgd",
        learning_rate=0.01,
        schedule="constant",
        checkpoint_minutes=1000.0,
    )
    if "losses" in changes:
        changes["losses"] = parse_losses(changes["losses"])
    return dataclasses.replace(toy, **changes)


def data() -> tuple[Items, np.ndarray, np.ndarray]:
    """12 images of 12 classes with 2 captions each, whose words identify the class."""
    random = np.random.default_rng(0)
    items = Items(
        [str(n) for n in range(IMAGES)],
        np.arange(IMAGES, dtype=np.int32),
        ["" for _ in range(2 * IMAGES)],
        np.repeat(np.arange(IMAGES, dtype=np.int32), 2),
    )
    ids = np.zeros((2 * IMAGES, LENGTH), np.int32)
    for row, number in enumerate(items.caption_groups):
        ids[row, :3] = [1 + number % 4, 5 + number // 4, 8 if row % 2 else 1 + number % 4]
    assert ids.max() < WORDS
    return items, ids, random.uniform(0, 255, (IMAGES, SIZE, SIZE, 3)).astype(np.float32)


def batches_of(stage: Stage, captions: int = 1) -> Callable[[int, int], tf.data.Dataset]:
    items, ids, pixels = data()

    def load(images: np.ndarray, seeds: np.ndarray) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices({"image": pixels[images]})

    def load_epoch(epoch: int, first: int) -> tf.data.Dataset:
        place = {"batch_size": stage.batch_size, "mining": stage.mining, "seed": (0, 0, epoch)}
        drawn = draw_epoch(items, ids, captions=captions, shift=True, word_dropout=0.0, **place)
        return batches(drawn, first, load, CLASSES)

    return load_epoch


def run(
    model: keras.Model,
    evaluate: Any = None,
    resume: Any = None,
    save: Any = None,
    trained: bool = False,
    selection_score: Callable[[dict[str, Any]], float] = lambda table: table["rsum"],
    captions: int = 1,
    **changes: Any,
) -> list[EpochEntry]:
    stage = settings(**changes)
    return train_stage(
        model,
        stage,
        batches=batches_of(stage, captions),
        steps_per_epoch=IMAGES // min(IMAGES, stage.batch_size),
        evaluate=evaluate,
        selection_score=selection_score,
        trained=trained,
        resume=resume,
        save=save or (lambda state, arrays: None),
        report=lambda entry: None,
    )


def toy(**changes: Any) -> keras.Model:
    return dual_path((1,), **({"classes": IMAGES, "scale": 10.0} | changes))


def values(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.variables]


def test_a_batch_in_parts_gives_the_same_step_where_no_batch_norm_is_trained() -> None:
    settings = {"freeze": ("backbone", "image_head", "text_tower"), "epochs": 1}
    losses = {"instance_image": 1.0, "instance_text": 1.0}
    found = []
    for count in (1, 2):
        model = toy()
        [entry] = run(model, accumulate=count, losses=losses, **settings)
        found.append((entry.train["loss"], model.get_layer("classifier").class_weights.numpy()))
    (loss, weights), (loss_of_parts, weights_of_parts) = found
    assert loss == pytest.approx(loss_of_parts, rel=1e-5)
    np.testing.assert_allclose(weights, weights_of_parts, rtol=1e-4, atol=1e-6)


def changed_since(model: keras.Model, before: list[np.ndarray]) -> dict[int, bool]:
    """For the id of each variable, whether its value has changed."""
    pairs = zip(model.variables, before, strict=True)
    return {id(variable): not np.array_equal(variable.numpy(), value) for variable, value in pairs}


@pytest.mark.parametrize(
    "freeze",
    [(), ("backbone",), ("image_head",), ("words",), ("text_tower",), ("classifier",), ("backbone", "text_tower")],
    ids=lambda freeze: "+".join(freeze) or "nothing",
)
def test_frozen_parts_do_not_change_and_all_others_do(freeze):
    """Batch norm statistics too, frozen or not."""
    model = toy()
    before = values(model)
    run(model, freeze=freeze, epochs=1)
    changed = changed_since(model, before)
    inside = {part: {id(v) for v in layer.variables} for part, layer in parts(model).items()}
    frozen = set().union(*(inside[part] for part in freeze)) if freeze else set()
    for variable in model.variables:
        assert changed[id(variable)] == (id(variable) not in frozen), variable.path


def test_second_stage_can_unfreeze_parts_of_the_first():
    model = toy()
    run(model, freeze=("backbone", "text_tower"), epochs=1)
    before = values(model)
    run(model, freeze=("classifier",), epochs=1)
    changed = changed_since(model, before)
    kernel = model.get_layer("classifier").class_weights
    assert not changed[id(kernel)]
    assert all(changed[id(v)] for v in model.variables if v is not kernel)


def test_cached_features_do_not_train_the_backbone():
    items, ids, _ = data()
    model = toy()
    width = parts(model)["image_head"].input.shape[-1]
    views = [np.random.default_rng(v).normal(size=(IMAGES, width)).astype(np.float32) for v in range(2)]
    stage = settings(freeze=("backbone",), cached_views=2)
    before = values(model)
    drawn = draw_epoch(
        items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=BATCH, mining=0, seed=(0, 0, 0)
    )
    train_stage(
        model,
        stage,
        batches=lambda epoch, first: batches(drawn, first, feature_source(views), CLASSES),
        steps_per_epoch=STEPS,
        evaluate=None,
        selection_score=len,
        trained=False,
        resume=None,
        save=lambda state, arrays: None,
        report=lambda entry: None,
    )
    changed = changed_since(model, before)
    assert not any(changed[id(v)] for v in parts(model)["backbone"].variables)
    assert all(changed[id(v)] for v in parts(model)["image_head"].variables)


def test_multipliers_scale_the_steps_of_a_part():
    """Plain SGD without momentum: the first step of a part with factor 0.1 is a tenth, with 0 nothing."""
    steps = {}
    for factor in (1.0, 0.1, 0.0):
        model = toy()
        before = [variable.numpy() for variable in model.variables]
        changes = {"momentum": 0.0, "weight_decay": 0.0, "batch_size": IMAGES, "epochs": 1}
        run(model, multipliers={"text_tower": factor}, **changes)
        steps[factor] = [v.numpy() - b for v, b in zip(model.variables, before, strict=True)]
    text = {id(v) for v in model.get_layer("text_tower").variables}
    for n, variable in enumerate(model.variables):
        if variable.trainable:
            expected = 0.1 if id(variable) in text else 1.0
            np.testing.assert_allclose(steps[0.1][n], expected * steps[1.0][n], rtol=1e-3, atol=1e-6)
            assert np.any(steps[0.0][n]) == (id(variable) not in text), variable.path


def test_variables_with_their_own_multiplier_in_the_released_code():
    """Each is a variable of the backbone or the classifier; its multiplier is applied in addition to theirs."""
    model = toy(bias=True)
    part_of = part_names(model)
    found = {v.path: [part for part in part_of(v) if "_" in part] for v in model.trainable_variables}
    backbone, classifier = parts(model)["backbone"], model.get_layer("classifier")
    first, gamma = backbone.get_layer("conv").kernel, backbone.get_layer("conv_bn").gamma
    assert part_of(first) == ["backbone", "first_convolution"]
    assert part_of(gamma) == ["backbone", "gamma", "backbone_gamma"]
    assert part_of(classifier.bias) == ["classifier", "classifier_bias"]
    small = {"first_convolution", "backbone_gamma", "classifier_bias"}
    assert sorted(part for names in found.values() for part in names if part in small) == sorted(small)


def tables(*rsums: float) -> Callable[[], dict[str, Any]]:
    left = list(rsums)
    return lambda: {"rsum": left.pop(0)}


def test_weights_of_the_best_epoch_are_kept():
    short, long, last = toy(), toy(), toy()
    run(short, epochs=2, keep="last")
    history = run(long, evaluate=tables(1.0, 5.0, 3.0, 5.0), epochs=4)
    assert [entry.val["rsum"] for entry in history] == [1.0, 5.0, 3.0, 5.0]
    for a, b in zip(values(short), values(long), strict=True):
        np.testing.assert_array_equal(a, b)  # those of epoch 2; ties: the first
    run(last, evaluate=tables(1.0, 5.0, 3.0, 5.0), epochs=4, keep="last")
    assert any(not np.array_equal(a, b) for a, b in zip(values(last), values(long), strict=True))


def test_best_epoch_has_the_highest_selection_score():
    short, long = toy(), toy()
    run(short, epochs=1, keep="last")
    run(long, evaluate=tables(1.0, 5.0, 3.0), epochs=3, selection_score=lambda table: 10.0 - table["rsum"])
    for a, b in zip(values(short), values(long), strict=True):
        np.testing.assert_array_equal(a, b)


def test_stage_without_improvement_restores_the_trained_weights():
    model = toy()
    before = values(model)
    run(model, evaluate=tables(7.0, 6.0, 5.0), trained=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, values(model), strict=True))
    run(model, evaluate=tables(7.0, 8.0, 5.0), trained=True)
    assert not all(np.array_equal(a, b) for a, b in zip(before, values(model), strict=True))


def test_untrained_model_is_not_evaluated():
    """Its embeddings can be zero, for example of a caption without known words, which evaluation refuses."""
    history = run(toy(), evaluate=tables(1.0), epochs=1, trained=False)  # a second evaluation would raise
    assert history[0].val["rsum"] == 1.0


def test_batch_norms_of_the_backbone_can_be_frozen_alone():
    model = toy()
    backbone = parts(model)["backbone"]
    freeze_parts(model, ("backbone_batch_norm",))
    kinds = {type(layer).__name__: layer.trainable for layer in backbone.layers if layer.weights}
    assert kinds == {"Conv2D": True, "BatchNormalization": False}
    before = values(model)
    run(model, freeze=("backbone_batch_norm",), epochs=1)
    changed = changed_since(model, before)
    norm = next(layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization))
    assert not any(changed[id(v)] for v in norm.variables)
    assert changed[id(backbone.get_layer("conv").kernel)]


def test_blocks_of_the_backbone_can_be_frozen_by_name():
    model = toy()
    freeze_parts(model, ("backbone.conv",))  # "conv" and "conv_bn"
    assert {layer.trainable for layer in parts(model)["backbone"].layers if layer.weights} == {False}
    freeze_parts(model, ())
    kept = [layer.name for layer in parts(model)["backbone"].layers if not layer.trainable]
    assert not kept, "a later stage must not inherit what an earlier one froze"
    with pytest.raises(ValueError, match=r"freeze: 'backbone.block9' is not one of .*_depthwise, backbone.conv"):
        freeze_parts(model, ("backbone.block9",))


def test_depthwise_kernels_can_be_frozen_alone(monkeypatch):
    """In a real backbone: only the pointwise convolutions from the second block on are trained."""
    backbone = build_backbone("efficientnet-lite0", weights="none", size=32)
    monkeypatch.setattr("itembed_tf.training.freezing.parts", lambda model: {"backbone": backbone})
    freeze_parts(toy(), ("backbone_batch_norm", "backbone_depthwise", "backbone.stem", "backbone.block1"))
    left = {variable.path.split("/")[0] for variable in backbone.trainable_variables}
    assert {"block2_1_expand", "block2_1_project", "block7_1_project", "head"} <= left
    assert not any("depthwise" in name or name.endswith("_bn") or name.startswith(("stem", "block1")) for name in left)


def test_evaluation_every_n_epochs_and_after_the_last():
    history = run(toy(), evaluate=tables(1.0, 2.0), epochs=3, evaluate_every=2)
    assert [entry.val is not None for entry in history] == [False, True, True]


def test_averaged_weights_are_evaluated_and_kept():
    """Running average of the weights after each step, with its slow start, computed in NumPy."""
    model, seen = toy(), []
    kernel = model.get_layer("classifier").class_weights
    inner = toy()
    average = inner.get_layer("classifier").class_weights.numpy()

    def watch(state: StageState, arrays: Arrays) -> None:
        seen.append(arrays["model/classifier/class_weights"])

    during = []
    run(
        model,
        evaluate=lambda: during.append(kernel.numpy()) or {"rsum": 1.0},
        save=watch,
        average=0.9,
        epochs=1,
        keep="last",
        checkpoint_minutes=0.0,
    )
    for steps, value in enumerate(seen[1 : 1 + STEPS], 1):  # the first is from before training
        decay = min(0.9, (1 + steps) / (10 + steps))
        average = decay * average + (1 - decay) * value
    np.testing.assert_allclose(during[0], average, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(kernel.numpy(), during[0])
    assert not np.allclose(average, seen[STEPS])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(policy):
    keras.config.set_dtype_policy(policy)
    history = run(toy(), epochs=8, optimizer="adamw", learning_rate=0.03)
    assert all(np.isfinite(list(entry.train.values())).all() for entry in history)
    assert history[-1].train["loss"] < history[0].train["loss"]
    assert history[-1].learning_rate == pytest.approx(0.03)


@pytest.mark.parametrize("jit", [False, True])
def test_loss_decreases(jit):
    losses = {"instance_image": 1.0, "instance_text": 1.0, "infonce": 1.0}
    history = run(toy(), epochs=25, optimizer="adamw", losses=losses, jit=jit)
    assert history[-1].train["loss"] < history[0].train["loss"] / 2
    assert history[-1].train["accuracy_image"] > 0.5  # chance 0.08
    first = history[0]
    assert first.epoch == 1 and first.images_per_s > 0 and first.seconds > 0
    weighted = sum(first.train[name] for name in ("instance_image", "instance_text", "infonce"))
    assert first.train["loss"] == pytest.approx(weighted, rel=1e-5)


def test_total_loss_is_the_weighted_sum():
    first = run(toy(), epochs=1, losses={"instance_image": 0.5, "ranking_max": {"weight": 3.0, "margin": 0.4}})[0].train
    assert first["loss"] == pytest.approx(0.5 * first["instance_image"] + 3 * first["ranking_max"], rel=1e-5)


def test_mining_replaces_exactly_the_second_half():
    """The step with mining on a batch equals the step without it on the batch whose second half was mined by hand."""
    items, ids, pixels = data()
    drawn = draw_epoch(items, ids, captions=1, shift=True, word_dropout=0.0, batch_size=BATCH, mining=7, seed=(0, 0, 0))
    batch = {name: tf.constant(getattr(drawn, name)[0]) for name in ("ids", "candidate_ids")}
    batch["classes"] = tf.constant(CLASSES[drawn.groups[0]])
    batch["candidate_classes"] = tf.constant(CLASSES[drawn.candidate_groups[0]])
    batch["image"] = tf.constant(pixels[drawn.images[0]])
    model = toy()
    half = BATCH // 2
    out = model({"image": batch["image"][:half], "ids": batch["candidate_ids"]}, training=False)
    scores = out["image_embedding"].numpy() @ out["text_embedding"].numpy().T
    chosen = scores.argmax(axis=1)  # none of the candidates is of the batch's groups
    expected_ids, text_labels = batch["ids"].numpy(), batch["classes"].numpy()
    expected_ids[half:] = drawn.candidate_ids[0][chosen]
    text_labels[half:] = CLASSES[drawn.candidate_groups[0][chosen]]
    np.testing.assert_array_equal(
        hardest_candidate(
            out["image_embedding"], out["text_embedding"], batch["candidate_classes"], batch["classes"][:half]
        ),
        chosen,
    )
    mined = model({"image": batch["image"], "ids": tf.constant(expected_ids)}, training=True)
    logits = mined["text_logits"].numpy().astype(np.float64)
    cross_entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(BATCH), text_labels]
    ranking = ranking_loss(mined["image_embedding"], mined["text_embedding"], batch["classes"], margin=0.2)
    model = toy()
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(model.trainable_variables)
    losses = {"instance_text": 1.0, "ranking": 1.0}
    step = compiled_step(model, optimizer, Averages([], 0.0), settings(losses=losses, mining=7))
    numbers = step(batch)
    assert float(numbers["instance_text"]) == pytest.approx(cross_entropy.mean(), rel=1e-4)
    assert float(numbers["ranking"]) == pytest.approx(float(ranking), rel=1e-4)


@pytest.mark.parametrize("jit", [False, True])
def test_image_is_repeated_for_each_of_its_captions(jit):
    """3 images with 2 captions each give 6 rows, of which rows i and i + 3 are never of the same image."""
    items, ids, pixels = data()
    draw = {"shift": False, "word_dropout": 0.0, "batch_size": 3, "mining": 0}
    drawn = draw_epoch(items, ids, captions=2, **draw, seed=(0, 0, 0))
    batch = {"ids": tf.constant(drawn.ids[0]), "classes": tf.constant(CLASSES[drawn.groups[0]])}
    batch["image"] = tf.constant(pixels[drawn.images[0]])
    model, inputs = toy(), {name: batch[name] for name in ("image", "ids")}
    out = {name: value.numpy() for name, value in model(inputs, training=True).items()}
    assert out["image_embedding"].shape[0] == 3 and out["text_embedding"].shape[0] == 6
    rows = [(number, 3 * place + number) for number in range(3) for place in range(2)]
    image = np.stack([out["image_embedding"][number] for number, _ in rows])
    text = np.stack([out["text_embedding"][caption] for _, caption in rows])
    labels = np.array([CLASSES[drawn.groups[0, number]] for number, _ in rows])
    assert (labels[:3] != labels[3:]).all()
    model, optimizer = toy(), keras.optimizers.SGD(0.0)
    optimizer.build(model.trainable_variables)
    with_margin = {name: {"margin": 2.5} for name in LOSSES if "margin" in LOSS_SETTINGS[name]().parameters}
    losses = dict.fromkeys([*INSTANCE_LOSSES, *LOSSES], 1.0) | with_margin
    stage = settings(losses=losses, jit=jit)
    step = compiled_step(model, optimizer, Averages([], 0.0), stage)
    numbers = step(batch)
    for name, loss in LOSSES.items():
        expected = float(loss(image, text, labels, **stage.losses[name].parameters))
        assert float(numbers[name]) == pytest.approx(expected, rel=1e-4, abs=1e-6) and expected > 0, name
    for side, of in (("image", labels[::2]), ("text", np.tile(labels[::2], 2))):
        logits = out[f"{side}_logits"].astype(np.float64)
        expected = (np.log(np.exp(logits).sum(1)) - logits[np.arange(len(of)), of]).mean()
        assert float(numbers[f"instance_{side}"]) == pytest.approx(expected, rel=1e-4)
        assert float(numbers[f"accuracy_{side}"]) == pytest.approx((logits.argmax(1) == of).mean())


RESUMABLE: dict[str, Any] = {
    "epochs": 3,
    "optimizer": "adamw",
    "average": 0.5,
    "losses": {"instance_image": 1.0, "instance_text": 1.0, "ranking": 1.0},
    "schedule": "cosine",
}
RSUMS = (4.0, 9.0, 2.0)


@pytest.mark.parametrize("policy, captions", [("float32", 1), ("mixed_float16", 1), ("float32", 2)])
def test_resumed_stage_equals_an_uninterrupted_one(policy, captions):
    """Equal weights bit for bit and an equal history, killed within an epoch, at its end, or after the best one."""
    keras.config.set_dtype_policy(policy)
    how = RESUMABLE | {"captions": captions, "mining": 5 if captions == 1 else 0}
    kept: list[Any] = []
    model = toy(dropout=0.3)
    complete = run(
        model,
        evaluate=tables(*RSUMS),
        save=lambda state, arrays: kept.append((state, arrays)),
        checkpoint_minutes=0.0,
        **how,
    )
    expected, other = values(model), toy(dropout=0.3)
    places = [(state.epoch, state.step) for state, _ in kept]
    for place in [(0, 2), (1, 3), (2, 0), (2, 1)] if (policy, captions) == ("float32", 1) else [(1, 1)]:
        state, arrays = kept[places.index(place)]
        for variable in other.variables:  # the weights before resuming must not matter
            variable.assign(tf.cast(tf.ones(variable.shape), variable.dtype))
        left = tables(*RSUMS[place[0] :])
        history = run(
            other, evaluate=left, resume=(StageState.from_json(json.loads(json.dumps(state.to_json()))), arrays), **how
        )
        for a, b, variable in zip(expected, values(other), model.variables, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"{variable.path} after {place}")
        assert not arrays  # else they would stay in memory as long as the training
        assert [without_times(entry) for entry in history] == [without_times(entry) for entry in complete]


def test_stage_can_be_resumed_after_an_error_while_saving():
    """The previous checkpoint is complete: resuming from it ends with the same weights."""
    kept: list[Any] = []

    def save(state: StageState, arrays: Arrays) -> None:
        if len(kept) == 3:
            raise OSError("disk full")
        kept.append((state, arrays))

    with pytest.raises(OSError, match="disk full"):
        run(toy(), save=save, checkpoint_minutes=0.0)
    one, other = toy(), toy()
    run(one)
    run(other, resume=kept[-1])
    assert all(np.array_equal(a, b) for a, b in zip(values(one), values(other), strict=True))


def without_times(entry: EpochEntry) -> EpochEntry:
    return dataclasses.replace(entry, seconds=0.0, images_per_s=0.0)


def test_checkpoints_are_saved_across_short_epochs():
    """The interval between checkpoints is not restarted by an epoch, which can be shorter."""
    saved: list[StageState] = []
    run(toy(), epochs=1, save=lambda state, arrays: saved.append(state), checkpoint_minutes=0.0)
    assert [(state.epoch, state.step) for state in saved] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    saved.clear()
    history = run(toy(), epochs=60, save=lambda state, arrays: saved.append(state), checkpoint_minutes=0.1 / 60)
    assert max(entry.seconds for entry in history[1:]) < 0.1 * len(history)
    assert len(saved) >= 2


def test_speed_counts_each_image_once():
    """A batch size above the number of images gives one batch of all images."""
    entry = run(toy(), epochs=1, batch_size=1000)[0]
    assert entry.images_per_s * entry.seconds == pytest.approx(IMAGES, rel=0.2)


def test_invalid_settings_are_refused():
    with pytest.raises(ValueError, match=r"losses: 'hard_negatives' is not one of instance_image, instance_text, rank"):
        run(toy(), losses={"hard_negatives": 1.0})
    with pytest.raises(ValueError, match=r"freeze: 'head' is not one of backbone, image_head, text_tower"):
        run(toy(), freeze=("head",))
    with pytest.raises(ValueError, match=r"add backbone to freeze"):
        run(toy(), freeze=(), cached_views=2)
    with pytest.raises(ValueError, match=r"unknown part 'head'"):
        run(toy(), multipliers={"head": 0.1})


def test_freezing_does_not_depend_on_earlier_freezing():
    model = toy()
    freeze_parts(model, ("text_tower",))
    assert not parts(model)["words"].trainable
    freeze_parts(model, ("words",))
    trainable = {part: len(layer.trainable_variables) for part, layer in parts(model).items()}
    assert trainable["words"] == 0 and all(count for part, count in trainable.items() if part != "words")


def test_run_resumed_after_ctrl_c_ends_with_the_same_weights():
    """The interrupted step is finished and counted first."""
    how = RESUMABLE | {"mining": 5}
    kept: list[Any] = []
    complete, other = toy(dropout=0.3), toy(dropout=0.3)
    run(complete, evaluate=tables(*RSUMS), **how)
    tables_until = [RSUMS[0]]

    def evaluate() -> dict[str, Any]:
        if not tables_until:  # the second evaluation
            signal.raise_signal(signal.SIGINT)
        return {"rsum": tables_until.pop()}

    with pytest.raises(KeyboardInterrupt):
        run(other, evaluate=evaluate, save=lambda state, arrays: kept.append((state, arrays)), **how)
    state, arrays = kept[-1]
    assert (state.epoch, state.step) == (1, STEPS)
    again = toy(dropout=0.3)
    run(again, evaluate=tables(*RSUMS[1:]), resume=(state, arrays), **how)
    assert all(np.array_equal(a, b) for a, b in zip(values(complete), values(again), strict=True))


def test_sigterm_of_a_program_saves_a_checkpoint_too():
    """Not within a step: the checkpoint is that of a whole number of them."""
    kept: list[Any] = []

    def evaluate() -> dict[str, Any]:
        signal.raise_signal(signal.SIGTERM)
        return {"rsum": 1.0}

    before = signal.getsignal(signal.SIGTERM)
    place = r"saved at stage toy, epoch 1, step 3"
    with pytest.raises(Terminated, match=place) as ended, resumable("itembed train X"):
        run(toy(), evaluate=evaluate, save=lambda state, arrays: kept.append(state))
    assert ended.value.args[-1] == "continue with: itembed train X"
    assert (kept[-1].epoch, kept[-1].step) == (0, STEPS)
    assert signal.getsignal(signal.SIGTERM) is before, "the process has its handler again"


def test_a_loss_that_is_not_finite_stops_and_no_checkpoint_has_such_weights():
    kept: list[Any] = []
    with pytest.raises(NotFinite, match=r"epoch 1, step [123]: "):
        run(toy(), learning_rate=1e38, checkpoint_minutes=0.0, save=lambda *saved: kept.append(saved))
    assert kept and all(np.isfinite(array).all() for _, arrays in kept for array in arrays.values())


def test_keyboard_interrupt_is_raised_after_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done.append("block")
    assert done == ["block"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # the previous handler is restored


def test_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_mismatched_checkpoint_is_refused_and_changes_nothing():
    kept: list[Any] = []
    run(toy(), epochs=1, save=lambda state, arrays: kept.append((state, arrays)))
    state, arrays = kept[-1]
    name = "model/classifier/class_weights"
    missing = {key: value for key, value in arrays.items() if key != name}
    for wrong, message in (
        (missing, f"{name} is missing"),
        (arrays | {"model/head/kernel": np.zeros(3)}, "model/head/kernel is not a variable of this model"),
        (arrays | {name: arrays[name].T}, rf"{name} has shape \[8, 12\] where \[12, 8\] is needed"),
    ):
        model = toy()
        before = values(model)
        with pytest.raises(RunError, match=message):
            run(model, epochs=1, resume=(state, wrong))
        assert all(np.array_equal(a, b) for a, b in zip(before, values(model), strict=True))
