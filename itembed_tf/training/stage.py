"""One training stage: what is frozen, its optimiser, its compiled step, its loop and its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.config import Loss
from itembed_tf.models.dual_path import parts
from itembed_tf.training.optimizer import make_optimizer
from itembed_tf.training.step import Averages, compiled_step

Checkpoint = tuple[dict[str, Any], list[np.ndarray]]  # JSON-able state, arrays
KINDS = {  # of the backbone's layers, by the name that freezes them
    "backbone_batch_norm": keras.layers.BatchNormalization,
    "backbone_depthwise": keras.layers.DepthwiseConv2D,
}


def train_stage(
    model: keras.Model,
    *,
    batches: Callable[[int, int], tf.data.Dataset],
    steps_per_epoch: int,
    evaluate: Callable[[], dict[str, Any]] | None,
    selection_score: Callable[[dict[str, Any]], float],
    trained: bool,
    resume: Checkpoint | None,
    save: Callable[[dict[str, Any], list[np.ndarray]], None],
    report: Callable[[dict[str, Any]], None],
    name: str,
    epochs: int,
    batch_size: int,
    freeze: Sequence[str],
    cached_views: int,
    losses: dict[str, Loss],
    mining: int,
    optimizer: str,
    learning_rate: float,
    multipliers: dict[str, float],
    momentum: float,
    weight_decay: float,
    clip_norm: float,
    schedule: str,
    warmup_epochs: float,
    decay_epochs: Sequence[int],
    decay_factor: float,
    average: float,
    keep: str,
    evaluate_every: int,
    checkpoint_minutes: float,
    jit: bool,
) -> list[dict[str, Any]]:
    """Train `model` in place, leave it with the weights that `keep` asks for, and give the history, a dict an epoch.

    Args:
        model: the dual-path model.
        batches: the batches of an epoch from a step on, as `itembed_tf.data.batches.batches` gives them.
        steps_per_epoch: how many steps an epoch has.
        evaluate: the retrieval table on dev of the model as it stands, or None where there is no dev split.
        worth: of such a table; with `keep` "best" the highest decides.
        trained: whether the weights come from an earlier stage. With `keep` "best" they are then measured first: a
            stage that makes things worse leaves them as they came.
        resume: what `save` was given last, to go on from there.
        save: keeps a checkpoint.
        report: told of every finished epoch, before its checkpoint: a continued run may tell of an epoch again.
        name: this and all that follow are the keys of a [[stages]] table; see `itembed_tf.config.Stage`.

    Raises:
        ValueError: settings that cannot go together, naming them.
    """
    if cached_views and "backbone" not in freeze:
        raise ValueError(f"stage {name}: cached_views keeps features, which must not move: add backbone to freeze")
    freeze_parts(model, freeze)  # before the optimiser is built and the step traced: neither sees a later change
    network = model.on_features if cached_views else model
    updates = make_optimizer(
        optimizer=optimizer,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        schedule=schedule,
        warmup_epochs=warmup_epochs,
        decay_epochs=decay_epochs,
        decay_factor=decay_factor,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        multipliers=multipliers,
        part_of=_part_names(model),
        mixed_float16=keras.config.dtype_policy().name == "mixed_float16",
    )
    updates.build(network.trainable_variables)
    averages = Averages(network.trainable_variables, average)
    step = compiled_step(
        network,
        updates,
        averages,
        losses=losses,
        mining=mining,
        jit=jit,
    )
    progress = _Progress([*model.variables, *updates.variables, averages.steps, *averages.values], resume)

    def checkpoint(every: float = 60 * checkpoint_minutes) -> None:
        progress.save_if_due(save, every)

    if not resume:
        if evaluate and trained and keep == "best":
            progress.remember(selection_score(evaluate()), model)
        checkpoint(every=0)
    for epoch in range(progress.counts["epoch"], epochs):
        title = f"stage {name}, epoch {epoch + 1}/{epochs}"
        run_epoch(step, batches(epoch, progress.counts["step"]), progress.counts, checkpoint, title, steps_per_epoch)
        entry = _epoch_entry(name, progress.counts, updates)
        if evaluate and ((epoch + 1) % evaluate_every == 0 or epoch + 1 == epochs):
            with averages.in_place():
                entry["val"] = evaluate()
                if keep == "best" and selection_score(entry["val"]) > progress.counts["best"]:
                    progress.remember(selection_score(entry["val"]), model)
        progress.finish_epoch(entry)
        report(entry)
        checkpoint()
    averages.assign()
    for variable, value in zip(model.variables, progress.best, strict=False):  # none where the last are kept
        variable.assign(value)
    return progress.counts["history"]


class _Progress:
    """What a checkpoint holds: the values of all variables, how far training has come, and the best weights so far.

    `counts` is JSON-able: the epoch, steps, images and seconds of the unfinished epoch, the sums of its numbers, the
    worth of the best table, and the entries of the finished epochs. It is true after every step.
    """

    def __init__(self, variables: Sequence[Any], resume: Checkpoint | None):
        self.variables = variables
        self.counts: dict[str, Any] = {"epoch": 0, "best": -1.0, "history": [], **_FRESH}
        self.best: list[np.ndarray] = []
        self.saved = time.monotonic()
        if resume:
            self.counts, arrays = dict(resume[0]), resume[1]
            for variable, value in zip(variables, arrays, strict=False):
                variable.assign(value)
            self.best = arrays[len(variables) :]

    def save_if_due(self, save: Callable[[dict[str, Any], list[np.ndarray]], None], seconds: float) -> None:
        if time.monotonic() - self.saved >= seconds:
            save(dict(self.counts), [*(variable.numpy() for variable in self.variables), *self.best])
            self.saved = time.monotonic()

    def remember(self, selection_score: float, model: keras.Model) -> None:
        """Keep the model's weights as the best so far."""
        self.counts["best"], self.best = selection_score, [variable.numpy() for variable in model.variables]

    def finish_epoch(self, entry: dict[str, Any]) -> None:
        self.counts |= {"epoch": entry["epoch"], "history": [*self.counts["history"], entry], **_FRESH}


_FRESH: dict[str, Any] = {"step": 0, "images": 0, "seconds": 0.0, "sums": {}}


def freeze_parts(model: keras.Model, freeze: Sequence[str]) -> None:
    """Make exactly the named parts untrainable; their batch norms then keep their statistics too.

    Of the backbone some layers alone can be named. "backbone_batch_norm": its convolutions can then be tuned on few
    pictures, or small batches, without statistics that are true of neither ImageNet nor them. "backbone_depthwise":
    few weights, whose gradients take TensorFlow most of a step on a CPU. "backbone.stem", "backbone.block1" and the
    like: the layers whose names begin so; nothing need be propagated back below the first that learns.
    """
    backbone = parts(model)["backbone"]
    places = dict.fromkeys(f"backbone.{layer.name.split('_')[0]}" for layer in backbone.layers if layer.weights)
    known = [*parts(model), *KINDS, *places]
    for part in freeze:
        if part not in known:
            raise ValueError(f"freeze: {part!r} is not one of {', '.join(known)}")
    for part, layer in parts(model).items():  # "words" comes after "text_tower", of which it is a layer
        layer.trainable = part not in freeze and not (part == "words" and "text_tower" in freeze)
    kinds = tuple(KINDS[part] for part in freeze if part in KINDS)
    for (
        layer
    ) in backbone.layers:  # each of them: a model that is made trainable and was so leaves its layers as they are
        frozen = isinstance(layer, kinds) or f"backbone.{layer.name.split('_')[0]}" in freeze
        layer.trainable = backbone.trainable and not frozen


def _part_names(model: keras.Model) -> Callable[[keras.Variable], list[str]]:
    """Which parts each variable belongs to: those of `parts`, what batch norms scale and add, and smaller ones."""
    names: dict[int, list[str]] = {}
    for part, layer in parts(model).items():
        for variable in layer.variables:
            names.setdefault(id(variable), []).append(part)
            if variable.name in ("gamma", "beta"):
                names[id(variable)].append(variable.name)
            if (part, variable.name) in (("backbone", "gamma"), ("classifier", "bias")):
                names[id(variable)].append(f"{part}_{variable.name}")
    first = next((v for v in parts(model)["backbone"].trainable_variables if v.name == "kernel"), None)
    if first is not None:
        names[id(first)].append("first_convolution")
    return lambda variable: list(dict.fromkeys(names.get(id(variable), [])))


def run_epoch(
    step: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    batches: tf.data.Dataset,
    counts: dict[str, Any],
    after_step: Callable[[], None],
    title: str,
    steps: int,
) -> None:
    """The rest of an epoch of `steps` steps; `counts` ("step", "images", "seconds", "sums") is true after each."""
    started, before = time.monotonic(), counts["seconds"]
    with tqdm(desc=title, unit=" images") as bar:
        for batch in batches:
            size = int(batch["labels"].shape[0])
            if bar.total is None:
                bar.total, bar.n, bar.initial = steps * size, counts["images"], counts["images"]
            numbers = step(batch)
            sums = counts["sums"]
            counts["sums"] = {key: sums.get(key, 0.0) + float(value) for key, value in numbers.items()}
            counts["step"] += 1
            counts["images"] += size
            counts["seconds"] = before + time.monotonic() - started
            bar.set_postfix(loss=f"{counts['sums']['loss'] / counts['step']:.3f}", refresh=False)
            bar.update(size)
            after_step()


def _epoch_entry(name: str, counts: dict[str, Any], optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    return {
        "stage": name,
        "epoch": counts["epoch"] + 1,
        "seconds": round(counts["seconds"], 2),
        "images_per_s": round(counts["images"] / max(counts["seconds"], 1e-9), 1),
        "learning_rate": float(optimizer.learning_rate),
        "train": {key: value / max(counts["step"], 1) for key, value in counts["sums"].items()},
    }
