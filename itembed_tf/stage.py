"""One training stage: what is frozen, its optimiser, its compiled step, its loop and its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.model import parts
from itembed_tf.optimizer import make_optimizer
from itembed_tf.step import Averages, compiled_step

Checkpoint = tuple[dict[str, Any], list[np.ndarray]]  # JSON-able state, arrays


def train_stage(
    model: keras.Model,
    *,
    batches: Callable[[int, int], tf.data.Dataset],
    steps_per_epoch: int,
    evaluate: Callable[[], dict[str, Any]] | None,
    resume: Checkpoint | None,
    save: Callable[[dict[str, Any], list[np.ndarray]], None],
    report: Callable[[dict[str, Any]], None],
    name: str,
    epochs: int,
    batch_size: int,
    freeze: Sequence[str],
    cached_views: int,
    losses: dict[str, float],
    margin: float,
    temperature: float,
    label_smoothing: float,
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
        batches: the batches of an epoch from a step on, as `itembed_tf.data.batches` gives them.
        steps_per_epoch: how many steps an epoch has.
        evaluate: the retrieval table on dev of the model as it stands, or None where there is no dev split.
        resume: what `save` was given last, to go on from there.
        save: keeps a checkpoint.
        report: told of every finished epoch, when its checkpoint can still be some steps away.
        name: this and all that follow are the keys of a [[stages]] table; see `itembed_tf.config.Stage`.

    Raises:
        ValueError: settings that cannot go together, naming them.
    """
    if cached_views and "backbone" not in freeze:
        raise ValueError(f"stage {name}: cached_views needs backbone in freeze: features of moving weights cannot be kept")
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
        margin=margin,
        temperature=temperature,
        label_smoothing=label_smoothing,
        mining=mining,
        jit=jit,
    )
    kept = [*model.variables, *updates.variables, averages.steps, *averages.values]
    progress = {"epoch": 0, "step": 0, "seconds": 0.0, "sums": {}, "best": -1.0, "history": []}
    best: list[np.ndarray] = []
    if resume:
        progress, best = _restore(kept, *resume)

    def checkpoint() -> None:
        save(dict(progress), [*(_numpy(v) for v in kept), *best])

    if not resume:
        checkpoint()
    for epoch in range(progress["epoch"], epochs):
        _run_epoch(
            step, batches(epoch, progress["step"]), progress, checkpoint, 60 * checkpoint_minutes,
            f"stage {name}, epoch {epoch + 1}/{epochs}", steps_per_epoch, batch_size,
        )  # fmt: skip
        entry = _epoch_entry(name, progress, batch_size, float(_numpy(updates.learning_rate)))
        if evaluate and ((epoch + 1) % evaluate_every == 0 or epoch + 1 == epochs):
            with averages.in_place():
                entry["val"] = evaluate()
                if keep == "best" and entry["val"]["rsum"] > progress["best"]:
                    progress["best"], best = entry["val"]["rsum"], [_numpy(v) for v in model.variables]
        progress.update(epoch=epoch + 1, step=0, seconds=0.0, sums={}, history=[*progress["history"], entry])
        report(entry)
    if not best:  # the last weights are asked for, or nothing told which are best
        for variable, value in zip(averages.variables, averages.values, strict=True):
            variable.assign(value)
    for variable, value in zip(model.variables, best, strict=False):
        variable.assign(value)
    return progress["history"]


def freeze_parts(model: keras.Model, freeze: Sequence[str]) -> None:
    """Make exactly the named parts untrainable; their batch norms then keep their statistics too."""
    for part in freeze:
        if part not in parts(model):
            raise ValueError(f"freeze: {part!r} is not one of {', '.join(parts(model))}")
    for part, layer in parts(model).items():  # "words" comes after "text_tower", of which it is a layer
        layer.trainable = part not in freeze and not (part == "words" and "text_tower" in freeze)


def _part_names(model: keras.Model) -> Callable[[keras.Variable], list[str]]:
    """Which parts each variable belongs to: those of `parts`, and gamma or beta for what batch norms scale and add."""
    names: dict[int, list[str]] = {}
    for part, layer in parts(model).items():
        for variable in layer.variables:
            names.setdefault(id(variable), []).append(part)
    return lambda variable: names.get(id(variable), []) + [n for n in ("gamma", "beta") if variable.name == n]


def _run_epoch(
    step: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    batches: tf.data.Dataset,
    progress: dict[str, Any],
    checkpoint: Callable[[], None],
    checkpoint_seconds: float,
    title: str,
    steps: int,
    batch_size: int,
) -> None:
    """The rest of one epoch; `progress` is kept true after every step."""
    started = saved = time.monotonic()
    spent = progress["seconds"]
    with tqdm(total=steps * batch_size, initial=progress["step"] * batch_size, desc=title, unit=" images") as bar:
        for batch in batches:
            numbers = step(batch)
            sums = progress["sums"]
            progress["sums"] = {key: sums.get(key, 0.0) + float(value) for key, value in numbers.items()}
            progress["step"] += 1
            progress["seconds"] = spent + time.monotonic() - started
            bar.update(batch_size)
            bar.set_postfix(loss=f"{progress['sums']['loss'] / progress['step']:.3f}", refresh=False)
            if time.monotonic() - saved > checkpoint_seconds:
                checkpoint()
                saved = time.monotonic()


def _epoch_entry(name: str, progress: dict[str, Any], batch_size: int, learning_rate: float) -> dict[str, Any]:
    steps = max(progress["step"], 1)
    return {
        "stage": name,
        "epoch": progress["epoch"] + 1,
        "seconds": round(progress["seconds"], 2),
        "images_per_s": round(steps * batch_size / max(progress["seconds"], 1e-9), 1),
        "learning_rate": learning_rate,
        "train": {key: value / steps for key, value in progress["sums"].items()},
    }


def _restore(kept: Sequence[Any], state: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
    for variable, value in zip(kept, arrays, strict=False):
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"checkpoint does not fit this model: {variable.name} is {tuple(variable.shape)}, saved {value.shape}")
        variable.assign(value)
    return dict(state), arrays[len(kept) :]


def _numpy(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable) if not isinstance(variable, tf.Variable) else variable.numpy())
