"""A training run from data set to report: groups, vocabulary, model, stages, outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from itembed_tf.config import Config, Stage, arguments
from itembed_tf.data.batches import Items, batches, draw_epoch, flatten, from_features, from_pictures
from itembed_tf.data.images import augment_image
from itembed_tf.data.readers import Group, read_dataset
from itembed_tf.data.unreadable import drop_unreadable, find_unreadable
from itembed_tf.evaluation.embeddings import embedder
from itembed_tf.evaluation.protocols import selection_score
from itembed_tf.pipeline.outputs import finish_run
from itembed_tf.retrieval import retrieval_table
from itembed_tf.text import Vocabulary
from itembed_tf.text.word_table import word_table
from itembed_tf.training.classes import class_labels
from itembed_tf.training.epoch_log import report_epoch
from itembed_tf.training.frozen_outputs import caption_features, evaluation_features, image_features
from itembed_tf.training.initialisation import start_weights
from itembed_tf.training.run_directory import (
    build_model,
    has_checkpoint,
    load_checkpoint,
    open_run,
    read_classes,
    read_metrics,
    read_skipped,
    save_checkpoint,
    start_run,
    write_classes,
    write_skipped,
)
from itembed_tf.training.stage import train_stage


def train(config: Config, path: Path) -> dict[str, Any]:
    """Train as `config` says into the run directory `path`, from its last checkpoint if any; give its metrics."""
    if start_run(path, config) and read_metrics(path).get("finished"):
        print(f"{path} is finished already; give another run directory to train again.")
        return read_metrics(path)
    tf.config.experimental.enable_op_determinism()  # a continued run ends with the weights of an undisturbed one
    keras.utils.set_random_seed(config.seed)
    groups, skipped = _readable_groups(config, path)
    by_split = {split: [g for g in groups if g.split == split] for split in config.dataset.splits}
    train_items = flatten(by_split["train"])
    vocabulary, words = _words(config, path, train_items)
    classes = config.classes.clusters or len(by_split["train"])
    model = build_model(config, vocabulary_size=vocabulary.size, classes=classes)
    labels = _class_labels(config, path, model, train_items)
    ids = vocabulary.encode(train_items.captions)
    saved = load_checkpoint(path)
    if saved is None:
        start_weights(config, model, train_items, ids, labels, words)
    dev_items = flatten(by_split.get("dev", []))
    histories = _run_stages(config, path, model, vocabulary, train_items, ids, labels, dev_items, saved)
    flip, frozen = config.evaluation.flip, all("backbone" in stage.freeze for stage in config.stages)
    features = partial(image_features, config, model, views=1 + flip, mirror=flip)
    known = features if frozen and config.precision == "float32" else None  # the precision that finish_run measures in
    return finish_run(config, path, model, vocabulary, by_split, histories, skipped, known)


def _readable_groups(config: Config, path: Path) -> tuple[list[Group], list[dict[str, str]]]:
    """The data set's groups without what cannot be read. The pictures are checked once; a continued run remembers."""
    groups = read_dataset(**arguments(config.dataset))
    known = read_skipped(path)
    skipped = find_unreadable(groups) if known is None else known
    for broken in skipped[:20]:
        print(f"skipped: {broken['image']}: {broken['reason']}")
    groups = drop_unreadable(groups, skipped, config.max_broken_percent)
    write_skipped(path, skipped)  # not where they are too many: repaired pictures are to be looked at again
    counts = ", ".join(f"{sum(g.split == s for g in groups):,} {s}" for s in config.dataset.splits)
    print(f"{config.dataset.name}: {counts} groups; {len(skipped)} pictures skipped")
    return groups, skipped


def _words(config: Config, path: Path, items: Items) -> tuple[Vocabulary, np.ndarray | None]:
    """The vocabulary, which no caption of dev or test has a part in, and the word table's first values, if any."""
    if has_checkpoint(path):
        return open_run(path).vocabulary, None
    vocabulary, table, coverage = word_table(config, items.captions)
    vocabulary.save(path / "vocabulary.txt")
    others = f" and {config.word_vectors.source}" if config.word_vectors.extra_words else ""
    print(f"vocabulary: {vocabulary.size - 1:,} words of {len(items.captions):,} training captions{others}")
    if table is not None:
        source = config.word_vectors.source
        print(f"word vectors: {source} knows {100 * coverage:.1f} % of them; the others start at random")
    return vocabulary, table


def _class_labels(config: Config, path: Path, model: keras.Model, items: Items) -> np.ndarray:
    """The class of each training group; clusters are found once, and a continued run reads them."""
    if not config.classes.clusters:
        return np.arange(int(items.image_groups.max()) + 1, dtype=np.int32)
    labels = read_classes(path)
    if labels is None:
        features = evaluation_features(config, model, items)
        labels = class_labels(features, items.image_groups, **arguments(config.classes), seed=config.seed)
        write_classes(path, labels)
        print(f"classes: {config.classes.clusters:,} clusters of {len(labels):,} groups by k-means")
    return labels


def _run_stages(
    config: Config,
    path: Path,
    model: keras.Model,
    vocabulary: Vocabulary,
    items: Items,
    ids: np.ndarray,
    labels: np.ndarray,
    dev: Items,
    saved: tuple[dict[str, Any], list[np.ndarray]] | None,
) -> list[list[dict[str, Any]]]:
    """Run the stages that are not finished yet; give every stage's history."""
    state, arrays = saved or ({"stage": 0, "histories": [], "inside": None}, [])
    histories: list[list[dict[str, Any]]] = state["histories"]
    writer = tf.summary.create_file_writer(str(path / "logs"))
    for variable, value in zip(model.variables, arrays, strict=False):  # before features are taken of the backbone
        variable.assign(value)
    for number in range(state["stage"], len(config.stages)):
        stage = config.stages[number]
        resume = (state["inside"], arrays) if state["inside"] and number == state["stage"] else None
        before = list(histories)

        def save(inside: dict[str, Any], values: list[np.ndarray], number: int = number, before: list = before) -> None:
            save_checkpoint(path, {"stage": number, "histories": before, "inside": inside}, values)

        history = train_stage(
            model,
            batches=_batches_of(config, model, items, labels, ids, stage, number),
            steps_per_epoch=len(items.images) // min(stage.batch_size, len(items.images)),
            evaluate=_dev_table(config, model, dev, vocabulary, stage) if dev.images else None,
            selection_score=partial(selection_score, data_set=config.dataset.name),
            trained=number > 0 or config.model.start == "cca",
            resume=resume,
            save=save,
            report=partial(report_epoch, path, writer, before),
            **arguments(stage),
        )
        histories.append(history)
    final = {"stage": len(config.stages), "histories": histories, "inside": None}
    if state["stage"] < len(config.stages):
        save_checkpoint(path, final, [keras.ops.convert_to_numpy(v) for v in model.variables])
    return histories


def _batches_of(
    config: Config, model: keras.Model, items: Items, labels: np.ndarray, ids: np.ndarray, stage: Stage, number: int
) -> Any:
    """A function from (epoch, first step) to that epoch's batches, each group under its class."""
    sentences = None
    if stage.cached_views:
        views = image_features(config, model, items, stage.cached_views, mirror=config.augmentation.flip)
        load, sentences = from_features(views), caption_features(model, ids)
    else:
        augment = partial(augment_image, size=config.image.size, **arguments(config.augmentation))
        load = from_pictures(items.images, augment)

    def of(epoch: int, first_step: int) -> tf.data.Dataset:
        drawn = draw_epoch(
            items,
            ids,
            **arguments(config.data),
            batch_size=stage.batch_size,
            mining=stage.mining,
            seed=(config.seed, number, epoch),
        )
        drawn = replace(drawn, labels=labels[drawn.labels], candidate_labels=labels[drawn.candidate_labels])
        return batches(drawn, first_step, load, sentences)

    return of


def _dev_table(
    config: Config, model: keras.Model, dev: Items, vocabulary: Vocabulary, stage: Stage
) -> Callable[[], dict[str, Any]]:
    """A function that gives the retrieval table of dev by the model as it then stands."""
    frozen, flip = "backbone" in stage.freeze, config.evaluation.flip
    features = image_features(config, model, dev, 1 + flip, mirror=flip) if frozen else None
    embed = embedder(
        model, dev, vocabulary, **arguments(config.image), **arguments(config.evaluation), features=features
    )

    def table() -> dict[str, Any]:
        made = embed()
        return retrieval_table(made.images, made.captions, dev.image_groups, dev.caption_groups)

    return table
