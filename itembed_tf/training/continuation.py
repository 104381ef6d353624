"""A run that starts from a finished one: its vocabulary and weights, and the classes of the present training groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from itembed_tf.config import Config
from itembed_tf.config.dump import plain, toml_value
from itembed_tf.data.readers import Group
from itembed_tf.models.imprinting import imprint_new
from itembed_tf.training.build import load_model
from itembed_tf.training.checkpoints import named_variables, restore, values
from itembed_tf.training.errors import RunError
from itembed_tf.training.frozen_outputs import evaluation_features
from itembed_tf.training.run_data import read_records
from itembed_tf.training.run_directory import Run, open_run, read_metrics
from itembed_tf.training.train_set import TrainSet

SAME = {  # settings of a run that one which continues it must have too: they give the weights their shape and meaning
    "": ("embedding_size",),
    "image_tower": ("backbone", "levels", "crops", "head", "hidden"),
    "text": ("lowercase", "length"),
    "text_tower": (
        *("variant", "depth", "width", "word_width", "stem", "blocks", "strides", "mask_padding", "pooling", "head"),
        "hidden",
    ),
    "sentence": ("kind", "words", "components", "size"),
    "model": ("scale", "bias", "relu"),
}


def finished_run(path: Path, config: Config) -> Run:
    """The finished run that a new run of `config` continues.

    Raises:
        RunError: it has not finished, its classes are clusters, or its model is another one; with the settings.
    """
    run = open_run(path)
    if not read_metrics(path).get("finished"):
        raise RunError(f"from_run: {path} has not finished; continue it with: itembed train CONFIG {path}")
    if run.config.members:
        raise RunError(f"from_run: {path} is an ensemble; give the run of one encoder pair")
    if run.config.classes.clusters:
        raise RunError(f"from_run: the classes of {path} are k-means clusters, not groups; train from the beginning")
    if "none" in (run.config.model.classifier, config.model.classifier):
        raise RunError(f'from_run: {path} and the new run must both have a classifier (model.classifier = "none")')
    differing = []
    if config.text.tokenizer not in ("auto", run.config.text.tokenizer):
        differing.append(f'text.tokenizer = "{run.config.text.tokenizer}"')
    for section, keys in SAME.items():
        theirs, ours = (getattr(each, section) if section else each for each in (run.config, config))
        for key in keys:
            if getattr(theirs, key) != getattr(ours, key):
                name = f"{section}.{key}" if section else key
                differing.append(f"{name} = {toml_value(plain(getattr(theirs, key)))}")
    if differing:
        raise RunError(f"from_run: {path} has another model. Set, as it has: {'; '.join(differing)}")
    return run


def class_rows(before: Sequence[str], now: Sequence[str]) -> np.ndarray:
    """The former class of each present one, by the ids of their groups: int64 [C]; -1 for a new class."""
    place = {group: row for row, group in enumerate(before)}
    return np.array([place.get(group, -1) for group in now], np.int64)


def resize_classes(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Class weights [C, D] (or biases [C]) in the order of the present classes; new ones are 0.

    Args:
        weights: of the former classes.
        rows: of `class_rows`: classes grow, are removed and change their order.
    """
    resized = np.zeros((len(rows), *weights.shape[1:]), weights.dtype)
    resized[rows >= 0] = weights[rows[rows >= 0]]
    return resized


def start_from_run(
    config: Config, model: keras.Model, run: Run, train: TrainSet, by_split: dict[str, list[Group]]
) -> None:
    """Give a new model the weights of a finished run.

    A class keeps its weights where its group was trained on in that run; those of groups that are gone are removed. A
    new class is imprinted: the mean of the trained image head's unit features of its images, with the mean length of
    the kept rows; its bias is their mean.

    Raises:
        RunError: the run does not say which groups it was trained on.
    """
    former, kept = _training_groups(run), [group.id for group in by_split["train"]]
    rows = class_rows(former, kept)
    before = load_model(run)
    ours = {name: v for name, v in _named(model).items() if not _own(name)}
    restore(ours, values({name: v for name, v in _named(before).items() if name in ours}))
    classifier, old = model.get_layer("classifier"), before.get_layer("classifier")
    bias = None
    if classifier.bias is not None:
        bias = old.bias.numpy()
        bias = np.where(rows < 0, bias.mean(), resize_classes(bias, rows))
    classifier.assign_classes(resize_classes(old.class_weights.numpy(), rows), bias)
    new = rows < 0
    if new.any():
        items = train.items
        imprint_new(model, evaluation_features(config, model, items), train.classes[items.image_groups], new)
    print(
        f"classes: {int((~new).sum()):,} with the weights that {run.path} has trained, {int(new.sum()):,} new, "
        f"{len(former) - int((~new).sum()):,} removed",
        flush=True,
    )
    trained = set(former)
    for split in ("dev", "test"):
        if seen := sum(group.id in trained for group in by_split.get(split, [])):
            print(f"warning: {seen:,} groups of {split} were trained on in {run.path}: its figures are too high")


def _own(name: str) -> bool:
    """Whether a variable does not come from the finished run: the classes, and the random state of a dropout layer."""
    return name.startswith("model/classifier/") or name.endswith("/seed_generator_state")


def _named(model: keras.Model) -> dict[str, keras.Variable]:
    return named_variables("model", model.variables, model)


def _training_groups(run: Run) -> list[str]:
    """The ids of the groups that a run was trained on, in the order of its classes."""
    groups = [record.id for record in read_records(run.path) or [] if record.split == "train"]
    if len(groups) != read_metrics(run.path).get("classes"):
        raise RunError(f"from_run: data.json of {run.path} does not list its classes; train from the beginning")
    return groups
