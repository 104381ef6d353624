"""The training of one encoder pair: model, classes, initial weights, stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.files import checksum
from itembed_tf.pipeline import steps as titles
from itembed_tf.pipeline.stages import Histories, continues, run_stages
from itembed_tf.pipeline.teacher import shared_teacher
from itembed_tf.pipeline.training_data import TrainingData
from itembed_tf.progress import Steps, running_clock
from itembed_tf.training.build import build_model
from itembed_tf.training.checkpoints import Checkpoint, named_variables, restore, values
from itembed_tf.training.classes import class_labels
from itembed_tf.training.continuation import start_from_run
from itembed_tf.training.distribution import ONE, Replicas
from itembed_tf.training.frozen_outputs import evaluation_features
from itembed_tf.training.initialisation import start_weights
from itembed_tf.training.loggers import TrainingLogger
from itembed_tf.training.run_data import check_same_file
from itembed_tf.training.run_directory import Run, read_classes, write_classes
from itembed_tf.training.train_set import TrainSet


def train_encoders(
    config: Config,
    path: Path,
    data: TrainingData,
    words: np.ndarray | None,
    saved: Checkpoint | None,
    steps: Steps,
    suffix: str = "",
    former: Run | None = None,
    loggers: Sequence[TrainingLogger] = (),
    replicas: Replicas = ONE,
) -> tuple[keras.Model, Histories]:
    """Train one dual-path model, from its checkpoint if there is one; return it with the histories of its stages.

    Args:
        config: without members.
        path: run directory, or the folder of a member, for checkpoints, logs and classes.
        data: of the run.
        words: initial word table, float32 [vocabulary_size, d]; None for a random one.
        saved: checkpoint of `path`.
        steps: of the run.
        suffix: of the titles of the steps.
        former: finished run to take the initial weights from.
        loggers: that get the figures of each epoch, beside those that the config names.
        replicas: that train it. All workers call this together; `words`, `saved` and `former` are the chief's, and so
            is the model that is returned, whole and outside of their scope.
    """
    steps.start(titles.MODEL + suffix)
    classes = config.classes.clusters or len(data.by_split["train"])
    with running_clock("building the model"), replicas.scope():
        model = build_model(config, vocabulary_size=data.vocabulary.size, classes=classes, shards=replicas.count)
    labels = _shared_labels(config, path, model, data.items, saved, replicas)
    checksums = data.checksums | {"classes": checksum(labels.tobytes())}
    if saved:
        check_same_file(path / "classes.json", saved.state.data.get("classes"), checksums["classes"])
    train_set = TrainSet(data.items, data.ids, labels, checksums, shared_teacher(data.teacher, replicas))
    if saved is None and replicas.is_chief:
        steps.start(titles.WEIGHTS + suffix)
        if former:
            start_from_run(config, model, former, train_set, data.by_split)
        else:
            start_weights(config, model, train_set, words)
    elif saved and saved.state.stage is None:
        print(continues(config, saved.state), flush=True)
    dev = flatten(data.by_split.get("dev", []))
    histories = run_stages(config, path, model, data.vocabulary, train_set, dev, saved, steps, loggers, replicas)
    return _whole_model(config, model, data.vocabulary.size, classes, replicas), histories


def _whole_model(
    config: Config, model: keras.Model, vocabulary_size: int, classes: int, replicas: Replicas
) -> keras.Model:
    """A model of one device with the weights of one of replicas, for the chief."""
    if replicas.count == 1:
        return model
    arrays = values(named_variables("model", model.variables, model), replicas)
    if not replicas.is_chief:
        return model
    whole = build_model(config, vocabulary_size=vocabulary_size, classes=classes)
    restore(named_variables("model", whole.variables, whole), arrays)
    return whole


def _shared_labels(
    config: Config, path: Path, model: keras.Model, items: Items, saved: Checkpoint | None, replicas: Replicas
) -> np.ndarray:
    """The class of each training group; clusters are those of the chief."""
    if replicas.workers == 1 or not config.classes.clusters:
        return _class_labels(config, path, model, items, saved)
    labels = replicas.from_chief(lambda: _class_labels(config, path, model, items, saved).tolist())
    return np.array(labels, np.int32)


def _class_labels(config: Config, path: Path, model: keras.Model, items: Items, saved: Checkpoint | None) -> np.ndarray:
    """The class of each training group; clusters are computed once, and a continued run reads them."""
    if not config.classes.clusters:
        return np.arange(int(items.image_groups.max()) + 1, dtype=np.int32)
    labels = read_classes(path) if saved else None
    if labels is None:
        features = evaluation_features(config, model, items)
        labels = class_labels(features, items.image_groups, **arguments(config.classes), seed=config.seed)
        write_classes(path, labels)
        print(f"classes: {config.classes.clusters:,} clusters of {len(labels):,} groups by k-means", flush=True)
    return labels
