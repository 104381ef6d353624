"""A training run from dataset to report: groups, vocabulary, model, stages, outputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.readers import Group, read_data
from itembed_tf.data.summary import format_counts
from itembed_tf.data.unreadable import UnreadableImage, drop_unreadable, find_unreadable, refuse_too_many
from itembed_tf.files import cache_folder, checksum
from itembed_tf.locks import locked_folder
from itembed_tf.pipeline import steps as titles
from itembed_tf.pipeline.outputs import finish_run
from itembed_tf.pipeline.stages import continues, run_stages
from itembed_tf.pipeline.steps import training_steps
from itembed_tf.progress import Steps, running_clock
from itembed_tf.text import Vocabulary, tokenize_captions
from itembed_tf.text.caption_warnings import caption_warnings
from itembed_tf.text.word_table import with_tokenizer, word_table
from itembed_tf.training.build import build_model
from itembed_tf.training.checkpoints import Checkpoint, load_checkpoint
from itembed_tf.training.classes import class_labels
from itembed_tf.training.errors import RunError
from itembed_tf.training.frozen_outputs import evaluation_features, image_features
from itembed_tf.training.initialisation import start_weights
from itembed_tf.training.run_data import (
    GroupRecord,
    check_same_file,
    check_same_groups,
    group_records,
    read_records,
    records_checksum,
    write_records,
)
from itembed_tf.training.run_directory import (
    open_run,
    read_classes,
    read_metrics,
    read_skipped,
    start_run,
    with_tokenizer_of_run,
    write_classes,
    write_config,
    write_skipped,
)
from itembed_tf.training.train_set import TrainSet


def train(config: Config, path: Path, steps: Steps | None = None) -> dict[str, Any]:
    """Train a run into the directory `path`, from its last checkpoint if there is one; return its metrics.

    Sets the global random seeds and makes TensorFlow's operations deterministic for the whole process.

    Args:
        config: of the run.
        path: run directory.
        steps: `itembed_tf.pipeline.steps.training_steps` of a program that has started them already.

    Raises:
        RunError: `path` holds another run, a checkpoint that cannot be continued, or a run whose data has changed.
        Locked: another process trains into `path`.
        UsageError: a path that cannot be a run directory (`itembed_tf.files.check_output`).
        TooManyUnreadable: more unreadable images than the config allows.
        KeyboardInterrupt: Ctrl-C; within a stage, a checkpoint has been saved.
    """
    if any("backbone" in stage.freeze for stage in config.stages):
        cache_folder("features")  # refused now rather than after all images were read
    with locked_folder(path, "give another run directory"):
        return _train(config, path, steps or training_steps(config))


def _train(config: Config, path: Path, steps: Steps) -> dict[str, Any]:
    config = with_tokenizer_of_run(path, config)
    if start_run(path, config) and read_metrics(path).get("finished"):
        print(f"{path} is finished already; give another run directory to train again.")
        return read_metrics(path)
    saved = load_checkpoint(path)
    tf.config.experimental.enable_op_determinism()  # a continued run ends with the weights of an undisturbed one
    keras.utils.set_random_seed(config.seed)
    steps.start(titles.READ)
    groups, skipped, checksums = _readable_groups(config, path, saved)
    by_split = {split: [g for g in groups if g.split == split] for split in config.dataset.splits}
    if len(by_split["train"]) < 2:
        raise ValueError(
            f"{len(by_split['train'])} training group in {config.dataset.name}: training tells images apart, and needs "
            "at least two groups with different images; add images, or move some to train"
        )
    items = flatten(by_split["train"])
    steps.start(titles.WORDS)
    config = _choose_tokenizer(config, path, items.captions)
    captions = tokenize_captions(items.captions, tokenizer=config.text.tokenizer, lowercase=config.text.lowercase)
    vocabulary, words = (open_run(path).vocabulary, None) if saved else _words(config, path, captions)
    checksums["vocabulary"] = vocabulary.checksum()
    if saved:
        check_same_file(path / "vocabulary.txt", saved.state.data.get("vocabulary"), checksums["vocabulary"])
    with _unreadable_named(groups, config.max_pixels):
        steps.start(titles.MODEL)
        with running_clock("building the model"):
            classes = config.classes.clusters or len(by_split["train"])
            model = build_model(config, vocabulary_size=vocabulary.size, classes=classes)
            ids = vocabulary.encode_words(captions)
        labels = _class_labels(config, path, model, items, saved)
        checksums["classes"] = checksum(labels.tobytes())
        if saved:
            check_same_file(path / "classes.json", saved.state.data.get("classes"), checksums["classes"])
        train_set = TrainSet(items, ids, labels, checksums)
        if saved is None:
            steps.start(titles.WEIGHTS)
            start_weights(config, model, train_set, words)
        elif saved.state.stage is None:
            print(continues(config, saved.state), flush=True)
        dev = flatten(by_split.get("dev", []))
        histories = run_stages(config, path, model, vocabulary, train_set, dev, saved, steps)
        flip, frozen = config.evaluation.flip, all("backbone" in stage.freeze for stage in config.stages)
        features = partial(image_features, config, model, views=1 + flip, mirror=flip)
        cached = features if frozen and config.precision == "float32" else None  # as finish_run measures
        return finish_run(
            config, path, vocabulary, by_split, histories, skipped, model=model, features=cached, steps=steps
        )


@contextmanager
def _unreadable_named(groups: Sequence[Group], max_pixels: int) -> Iterator[None]:
    """Name the image that an error comes from: one that became unreadable after it was checked.

    Raises:
        RunError: in place of the error, where an image of `groups` is unreadable now.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except (tf.errors.OpError, FileNotFoundError) as error:
        unreadable = find_unreadable(groups, max_pixels=max_pixels)
        if not unreadable:
            raise
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        raise RunError(
            f"the image {unreadable[0].image}{more} was readable when the training began, and is not now: "
            f"{unreadable[0].reason}. Restore it and give the same command again"
        ) from error


def _readable_groups(
    config: Config, path: Path, saved: Checkpoint | None
) -> tuple[list[Group], list[UnreadableImage], dict[str, str]]:
    """The groups of the dataset without unreadable images, these images, and the checksum of the groups.

    The images are not checked again where the data is the same as when the run began; a continued run refuses other
    data.
    """
    with running_clock("reading the dataset"):
        data = read_data(**arguments(config.dataset))

    def without(unreadable: Sequence[UnreadableImage]) -> tuple[list[Group], list[GroupRecord]]:
        readable = drop_unreadable(data.groups, unreadable, max_percent=100.0)
        return readable, group_records(readable, config.dataset.root, config.dataset.images)

    skipped = read_skipped(path)
    if skipped is not None:
        groups, records = without(skipped)
    if skipped is None or not (saved or records == read_records(path)):
        skipped = find_unreadable(data.groups, max_pixels=config.max_pixels)
        groups, records = without(skipped)
    for each in skipped[:20]:
        print(f"skipped: {each.image}: {each.reason}")
    before = saved.state.data.get("groups") if saved else None
    if saved:
        check_same_groups(path, before, records)
    else:
        refuse_too_many(skipped, sum(len(group.images) for group in data.groups), config.max_broken_percent)
    if before is None:
        write_records(path, records)
    write_skipped(path, skipped)  # not where there are too many, so that a rerun checks repaired images again
    print(
        f"{config.dataset.name}: {format_counts(data, groups)}; {len(skipped):,} unreadable images skipped", flush=True
    )
    return groups, skipped, {"groups": records_checksum(records)}


def _choose_tokenizer(config: Config, path: Path, captions: Sequence[str]) -> Config:
    """The config with the tokenizer that "auto" gives; a continued run has it in its config, and exports repeat it."""
    config, line = with_tokenizer(config, captions)
    if line:
        print(line, flush=True)
        write_config(path, config)
    return config


def _words(config: Config, path: Path, captions: Sequence[Sequence[str]]) -> tuple[Vocabulary, np.ndarray | None]:
    """The vocabulary, built from the training captions alone, and the initial word table, if there is one."""
    with running_clock("building the vocabulary"):
        table = word_table(config, captions)
    vocabulary = table.vocabulary
    vocabulary.save(path / "vocabulary.txt")
    source = config.word_vectors.source
    others = f" and {source}" if config.word_vectors.extra_words else ""
    print(f"vocabulary: {vocabulary.size - 1:,} words of {len(captions):,} training captions{others}", flush=True)
    if table.vectors is not None:
        percent = 100 * table.coverage
        print(
            f"word vectors: {source} has {percent:.1f} % of the captions' words; the others are initialised at random",
            flush=True,
        )
    coverage = table.coverage if table.vectors is not None else None
    for warning in caption_warnings(config, captions, vocabulary, coverage):
        warnings.warn(warning, stacklevel=2)
    return vocabulary, table.vectors


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
