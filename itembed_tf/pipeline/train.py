"""A training run from dataset to report: data, encoders, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.config import Config, frozen_backbone
from itembed_tf.data.batches import flatten
from itembed_tf.files import cache_folder
from itembed_tf.locks import locked_folder
from itembed_tf.pipeline import steps as titles
from itembed_tf.pipeline.encoder import train_encoders
from itembed_tf.pipeline.following import Begun, follow, for_followers
from itembed_tf.pipeline.members import train_members
from itembed_tf.pipeline.memory import add_memory
from itembed_tf.pipeline.outputs import finish_run
from itembed_tf.pipeline.steps import training_steps
from itembed_tf.pipeline.teacher import open_teacher, with_teacher
from itembed_tf.pipeline.training_data import (
    TrainingData,
    choose_tokenizer,
    print_and_keep,
    readable_groups,
    unreadable_named,
    word_vectors,
)
from itembed_tf.progress import Steps
from itembed_tf.text import tokenize_captions
from itembed_tf.training.checkpoints import Checkpoint, load_checkpoint
from itembed_tf.training.class_memory import choose_softmax
from itembed_tf.training.cluster import check_batches, check_shares
from itembed_tf.training.continuation import finished_run
from itembed_tf.training.determinism import missing_kernels_named, set_determinism
from itembed_tf.training.distribution import Replicas, open_replicas
from itembed_tf.training.frozen_outputs import encoder_features
from itembed_tf.training.loggers import TrainingLogger
from itembed_tf.training.open_backbones import check_backbones
from itembed_tf.training.run_data import check_same_file
from itembed_tf.training.run_directory import (
    Run,
    open_run,
    read_metrics,
    write_architectures,
)
from itembed_tf.training.run_start import check_same_config, restore_config, start_run, with_choices_of_run


def train(
    config: Config, path: Path, steps: Steps | None = None, loggers: Sequence[TrainingLogger] = ()
) -> dict[str, Any]:
    """Train a run into the directory `path`, from its last checkpoint if there is one; return its metrics.

    Sets the global random seeds and, as the config says, makes TensorFlow's operations deterministic for the whole
    process (`itembed_tf.training.determinism`). It trains on all GPUs of the machine, or with the other workers that
    TF_CONFIG names: worker 0, the chief, has the run directory; the others train with it and return the same metrics
    (`itembed_tf.pipeline.following`).

    Args:
        config: of the run.
        path: run directory.
        steps: `itembed_tf.pipeline.steps.training_steps` of a program that has started them already.
        loggers: that get the figures of each epoch, beside those that the config names.

    Raises:
        RunError: `path` holds another run, a checkpoint that cannot be continued, or a run whose data has changed.
        Locked: another process trains into `path`.
        UsageError: a path that cannot be a run directory (`itembed_tf.files.check_output`).
        TooManyUnreadable: more unreadable images than the config allows.
        WorkerLost: another worker of TF_CONFIG has stopped.
        KeyboardInterrupt: Ctrl-C, or SIGTERM (`Terminated`) in a program; within a stage, a checkpoint has been saved.
    """
    if any("backbone" in stage.freeze for stage in config.stages):
        cache_folder("features")  # refused now rather than after all images were read
    replicas = open_replicas()
    check_shares(config, replicas.count, workers=replicas.workers)
    config = set_determinism(config)
    keras.utils.set_random_seed(config.seed)
    steps = steps or training_steps(config)
    if not replicas.is_chief:
        with replicas.losses_named(), missing_kernels_named():
            return follow(config, steps, replicas)
    with locked_folder(path, "give another run directory"), replicas.losses_named():
        return _train(config, path, steps, loggers, replicas)


def _train(
    config: Config, path: Path, steps: Steps, loggers: Sequence[TrainingLogger], replicas: Replicas
) -> dict[str, Any]:
    begun: list[Begun] = []

    def begin() -> dict[str, Any]:
        begun.append(_begin(config, path, steps, replicas.count))
        return for_followers(begun[0], path)

    replicas.from_chief(begin)
    config, data, words, saved, former = begun[0]
    if data is None:
        print(f"{path} is finished already; give another run directory to train again.")
        return read_metrics(path)
    groups = [group for of_split in data.by_split.values() for group in of_split]
    with unreadable_named(groups, config.max_pixels), replicas.losses_named(), missing_kernels_named():
        if config.members:
            model, histories = train_members(config, path, data, words, saved, steps, loggers, replicas)
        else:
            model, histories = train_encoders(
                config, path, data, words[0], saved, steps, former=former, loggers=loggers, replicas=replicas
            )
        flip, exact = config.evaluation.flip, frozen_backbone(config) and config.precision == "float32"
        cached = exact or config.image_tower.features
        features = partial(encoder_features, config, model, views=1 + flip, mirror=flip) if cached else None

        def finish() -> dict[str, Any]:
            return finish_run(
                config,
                path,
                data.vocabulary,
                data.by_split,
                histories,
                data.skipped,
                model=add_memory(config, model, data.by_split["train"], features),
                features=features,
                steps=steps,
            )

        return replicas.from_chief(finish)  # the others wait for it: their end says that the run is finished


def _begin(config: Config, path: Path, steps: Steps, replicas: int) -> Begun:
    """Open the run directory, read the checkpoint and the data."""
    restore_config(path)
    config = with_choices_of_run(path, config)
    kept = {} if read_metrics(path).get("finished") else check_backbones(config)  # refused before anything is written
    if start_run(path, config) and read_metrics(path).get("finished"):
        return Begun(config, None, [], None, None)
    if kept:
        write_architectures(path, kept)
    saved = load_checkpoint(path)
    if saved:
        check_same_config(path, saved.state.config, config)
    teacher = open_teacher(config)
    former = finished_run(Path(config.from_run).expanduser(), config) if config.from_run and not saved else None
    config, data, words = _read(config, path, saved, former, steps, replicas)
    if teacher:
        data = with_teacher(data, teacher, path, saved, steps)
    return Begun(config, data, words, saved, former)


def _read(
    config: Config, path: Path, saved: Checkpoint | None, former: Run | None, steps: Steps, replicas: int
) -> tuple[Config, TrainingData, list[np.ndarray | None]]:
    """The config without "auto", the data, and the initial word table of each encoder that has not begun."""
    steps.start(titles.READ)
    groups, skipped, checksums = readable_groups(config, path, saved)
    by_split = {split: [g for g in groups if g.split == split] for split in config.dataset.splits}
    if len(by_split["train"]) < 2:
        raise ValueError(
            f"{len(by_split['train'])} training group in {config.dataset.name}: training tells images apart, and needs "
            "at least two groups with different images; add images, or move some to train"
        )
    items = flatten(by_split["train"])
    check_batches(config, len(items.images), replicas)
    classes = config.classes.clusters or len(by_split["train"])
    if config.model.softmax == "sharded" and replicas == 1:
        print('softmax: full, as one device has all classes (model.softmax = "sharded")', flush=True)
    config = print_and_keep(path, *choose_softmax(config, classes, replicas=replicas))
    steps.start(titles.WORDS)
    config = choose_tokenizer(config, path, items.captions, former)
    captions = tokenize_captions(items.captions, tokenizer=config.text.tokenizer, lowercase=config.text.lowercase)
    words: list[np.ndarray | None] = [None] * max(1, len(config.members))
    if former:
        vocabulary = former.vocabulary
    elif saved is None or len(saved.state.histories) < len(config.members) * len(config.stages):  # a member is to begin
        vocabulary, words = word_vectors(config, captions)
    if saved:
        vocabulary = open_run(path).vocabulary
        check_same_file(path / "vocabulary.txt", saved.state.data.get("vocabulary"), vocabulary.checksum())
    else:
        vocabulary.save(path / "vocabulary.txt")
    checksums["vocabulary"] = vocabulary.checksum()
    ids = vocabulary.encode_words(captions)
    return config, TrainingData(by_split, skipped, items, captions, vocabulary, ids, checksums), words
