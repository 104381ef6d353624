"""The teacher of a distillation: a finished run, and its embeddings of the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from itembed_tf.config import Config, arguments, frozen_backbone
from itembed_tf.data.batches import Items, TeacherEmbeddings
from itembed_tf.evaluation.embeddings import embedder
from itembed_tf.files import file_checksum
from itembed_tf.pipeline import steps as titles
from itembed_tf.pipeline.training_data import TrainingData
from itembed_tf.progress import Steps, running_clock
from itembed_tf.training.build import load_model
from itembed_tf.training.checkpoints import Checkpoint
from itembed_tf.training.distribution import Replicas
from itembed_tf.training.errors import RunError
from itembed_tf.training.frozen_outputs import encoder_features
from itembed_tf.training.run_data import GroupRecord, check_same_file, read_records
from itembed_tf.training.run_directory import Run, open_run, read_metrics, weights_file


def open_teacher(config: Config) -> Run | None:
    """The finished run that ``distill_from`` names; None where it names none.

    Raises:
        RunError: it is not a run directory, or has not finished.
    """
    if not config.distill_from:
        return None
    path = Path(config.distill_from).expanduser()
    run = open_run(path)
    if not read_metrics(path).get("finished"):
        raise RunError(f"distill_from: {path} has not finished; continue it with: itembed train CONFIG {path}")
    return run


def with_teacher(data: TrainingData, teacher: Run, path: Path, saved: Checkpoint | None, steps: Steps) -> TrainingData:
    """The data of a run with the teacher's embeddings of its training set.

    Args:
        data: of the run.
        teacher: of `open_teacher`.
        path: run directory, which has the records of the groups.
        saved: checkpoint of the run.
        steps: of the run.

    Raises:
        RunError: the teacher has learned from dev or test of this run, or is not the one with which the run began.
    """
    steps.start(titles.TEACHER)
    _check_splits(teacher, read_records(path) or [])
    weights = weights_file(teacher.path)
    checksums = data.checksums | {"teacher": file_checksum(weights)}
    if saved:
        check_same_file(weights, saved.state.data.get("teacher"), checksums["teacher"])
    return replace(data, checksums=checksums, teacher=_embed(teacher, data.items))


def shared_teacher(teacher: TeacherEmbeddings | None, replicas: Replicas) -> TeacherEmbeddings | None:
    """The chief's embeddings, on all workers."""
    if replicas.workers == 1:
        return teacher
    sides = [] if teacher is None else [teacher.images, teacher.captions]
    shapes = replicas.from_chief(lambda: [list(side.shape) for side in sides])
    arrays = sides or [np.zeros(shape, np.float32) for shape in shapes]
    return TeacherEmbeddings(*map(replicas.sum_of_workers, arrays)) if arrays else None


def _check_splits(teacher: Run, records: Sequence[GroupRecord]) -> None:
    """Refuse a teacher that was trained on groups of dev or test: by their captions and the sizes of their images."""
    seen = {(each.sizes, each.captions) for each in read_records(teacher.path) or [] if each.split == "train"}
    leaked = [each for each in records if each.split != "train" and (each.sizes, each.captions) in seen]
    if leaked:
        raise RunError(
            f"distill_from: {teacher.path} was trained on {len(leaked)} groups that are in dev or test here, such as "
            f"{leaked[0].id} ({leaked[0].split}): the figures of this run would be too good. Give a run with the same "
            "splits"
        )


def _embed(teacher: Run, items: Items) -> TeacherEmbeddings:
    """The teacher's embeddings, from cached features where its backbone is frozen. Crops of images are left out."""
    with running_clock("loading the teacher"):
        model = load_model(teacher)
    config, features = teacher.config, None
    flip = config.evaluation.flip
    if frozen_backbone(config) and config.precision == "float32":
        features = encoder_features(config, model, items, 1 + flip, mirror=flip)
    settings = arguments(config.image) | arguments(config.evaluation) | {"crops": 0}
    embeddings = embedder(model, items, teacher.vocabulary, **settings, features=features)()
    return TeacherEmbeddings(embeddings.images, embeddings.captions)
