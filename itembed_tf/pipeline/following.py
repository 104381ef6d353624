"""The part that workers other than the chief take in a training: they read the data and train, and write nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itembed_tf.config import Config, arguments, dump_config, load_config
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import read_data
from itembed_tf.data.unreadable import UnreadableImage, drop_unreadable
from itembed_tf.pipeline.encoder import train_encoders
from itembed_tf.pipeline.steps import READ
from itembed_tf.pipeline.training_data import TrainingData
from itembed_tf.progress import Steps, running_clock
from itembed_tf.text import Vocabulary, tokenize_captions
from itembed_tf.training.checkpoints import Checkpoint
from itembed_tf.training.distribution import Replicas
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_data import group_records, records_checksum
from itembed_tf.training.run_directory import Run


class Begun(NamedTuple):
    """A training whose run directory is open and whose data is read; `data` None: the run is finished."""

    config: Config
    data: TrainingData | None
    words: list[np.ndarray | None]
    saved: Checkpoint | None
    former: Run | None


def for_followers(begun: Begun, run: Path) -> dict[str, Any]:
    """What the chief sends to the other workers, as JSON has it."""
    if begun.data is None:
        return {"run": str(run)}
    return {
        "run": str(run),
        "config": dump_config(begun.config),
        "skipped": [asdict(each) for each in begun.data.skipped],
        "words": begun.data.vocabulary.words,
        "checksums": begun.data.checksums,
    }


def follow(config: Config, steps: Steps, replicas: Replicas) -> dict[str, Any]:
    """Train with the chief; returns its metrics.

    Args:
        config: of this worker. All settings are the chief's, but for the places of the data.
        steps: of the training.
        replicas: of all workers.

    Raises:
        RunError: the data of this worker is not the chief's.
        WorkerLost: another worker has stopped.
    """
    begun: dict[str, Any] = replicas.from_chief(dict)
    if "config" not in begun:
        print(f"worker 0: {begun['run']} is finished already")
        return {}
    own = config.dataset
    config = load_config(text=begun["config"])
    if own.root != config.dataset.root:
        for each in begun["skipped"]:
            each["image"] = each["image"].replace(config.dataset.root, own.root, 1)
    config = replace(config, dataset=replace(config.dataset, root=own.root, shards=own.shards, images=own.images))
    steps.start(READ)
    data = _read_as_chief(config, begun, replicas.worker)
    train_encoders(config, Path(begun["run"]), data, None, None, steps, replicas=replicas)
    print("trained; worker 0 measures the model and writes the run directory", flush=True)
    metrics: dict[str, Any] = replicas.from_chief(dict)
    return metrics


def _read_as_chief(config: Config, begun: dict[str, Any], worker: int) -> TrainingData:
    """The data, without the images that the chief could not read, checked to be the chief's."""
    skipped: Sequence[UnreadableImage] = [UnreadableImage(**each) for each in begun["skipped"]]
    with running_clock("reading the dataset"):
        data = read_data(**arguments(config.dataset))
    groups = drop_unreadable(data.groups, skipped, max_percent=100.0)
    records = group_records(groups, config.dataset.root, config.dataset.images)
    if records_checksum(records) != begun["checksums"]["groups"]:
        raise RunError(
            f"worker {worker}: its data ({len(groups):,} groups of {config.dataset.name}) is not that of worker 0: "
            "other images, captions or splits. Give all workers a copy of the same data, and start all again"
        )
    by_split = {split: [g for g in groups if g.split == split] for split in config.dataset.splits}
    items, text = flatten(by_split["train"]), config.text
    captions = tokenize_captions(items.captions, tokenizer=text.tokenizer, lowercase=text.lowercase)
    vocabulary = Vocabulary(
        tuple(begun["words"]), tokenizer=text.tokenizer, lowercase=text.lowercase, length=text.length
    )
    ids = vocabulary.encode_words(captions)
    return TrainingData(by_split, skipped, items, captions, vocabulary, ids, begun["checksums"])
