"""Plan of a training before it is started: classes, memory by part, steps and hours, by arithmetic alone.

TensorFlow is not imported. Checked against the peak memory of real trainings by `benchmarks.plan_check`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from itembed_tf.config import Config, Stage, member_configs
from itembed_tf.models.class_share import rows_of_share
from itembed_tf.training.class_memory import DRAWN_ARRAYS, LOGITS, STEP_ARRAYS, choose_softmax, moments
from itembed_tf.training.errors import RunError
from itembed_tf.training.tower_size import backbone_parameters, feature_dimensions, text_activations, text_parameters

PROCESS = 900_000_000  # bytes of a process with TensorFlow, Keras, compiled steps and a small dataset
FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Part:
    """What the memory is for, and its bytes."""

    name: str
    bytes: int


@dataclass(frozen=True)
class StagePlan:
    """A stage.

    Attributes:
        name: of the stage; that of an ensemble's stages has the member.
        steps_per_epoch, epochs: of it.
        hours: None where no throughput is known.
        held: parts that are in memory for the whole stage.
        step: further parts during a step.
        save: further parts while a checkpoint is written. TensorFlow's allocator keeps the memory of the steps, so that
            these come on top of them.
        unknown: parts that are not estimated.
    """

    name: str
    steps_per_epoch: int
    epochs: int
    hours: float | None
    held: tuple[Part, ...]
    step: tuple[Part, ...]
    save: tuple[Part, ...]
    unknown: tuple[str, ...] = ()

    @property
    def peak(self) -> int:
        """Largest number of bytes at once."""
        return total(self.held) + total(self.step) + total(self.save)


@dataclass(frozen=True)
class Plan:
    """A training.

    Attributes:
        classes: rows of the classifier; 0 without one.
        softmax: "full", "sharded", "sampled" or "none", and `reason` says why, in one line; "" where it is set.
        fits: whether the class weights and moments fit into the memory.
        stages: in their order, of all members.
        features: bytes of cached features on disk; None where it is not known.
        checkpoints: bytes of checkpoints on disk.
    """

    classes: int
    softmax: str
    reason: str
    fits: bool
    stages: tuple[StagePlan, ...]
    features: int | None
    checkpoints: int

    @property
    def peak(self) -> int:
        return max(stage.peak for stage in self.stages)


def total(parts: Sequence[Part]) -> int:
    return sum(part.bytes for part in parts)


def plan_training(
    config: Config,
    *,
    images: int,
    classes: int,
    captions: int,
    words: int,
    memory: int,
    images_per_second: Sequence[float] = (),
    replicas: int = 1,
) -> Plan:
    """Plan the training of a config.

    Args:
        config: of the run.
        images, classes, captions: of train; classes are its groups, unless the config has clusters.
        words: of the vocabulary.
        memory: bytes that are free on one device.
        images_per_second: of each stage on one device, or one figure for all; empty where it is not known.
        replicas: devices that share the images of every step; each holds the towers, and all class rows or, where the
            softmax is sharded, its share of them. The figures are those of the chief, which has the best weights whole
            and, of a sharded classifier, a copy for a checkpoint.
    """
    classes = config.classes.clusters or classes
    try:
        config, reason = choose_softmax(config, classes, memory, replicas)
        fits = True
    except ValueError as error:  # not even sampled
        config, reason, fits = replace(config, model=replace(config.model, softmax="sampled")), str(error), False
    rows = 0 if config.model.classifier == "none" else classes
    stages, checkpoints, features = [], 0, 0
    known = True
    for member in member_configs(config):
        for number, stage in enumerate(member.stages):
            speed = images_per_second[number % len(images_per_second)] * replicas if images_per_second else 0.0
            stages.append(_stage(member, stage, images, rows, words, speed, replicas))
            checkpoints = max(checkpoints, stage.checkpoints * _saved(member, stage, rows, words))
        width = feature_dimensions(member.image_tower)
        views = max(stage.cached_views for stage in member.stages)
        known = known and (width is not None or not views)
        features += images * (width or 0) * FLOAT * views + _text_features(member, captions, views)
    softmax = config.model.softmax if rows else "none"
    return Plan(rows, softmax, reason, fits, tuple(stages), features if known else None, checkpoints)


def _text_features(config: Config, captions: int, views: int) -> int:
    fixed = config.text_tower.variant == "features" and config.sentence.size
    return captions * config.sentence.size * FLOAT if fixed and views else 0


def _stage(config: Config, stage: Stage, images: int, rows: int, words: int, speed: float, replicas: int) -> StagePlan:
    batch = min(stage.batch_size, images)
    size, towers, trained = FLOAT * rows * config.embedding_size, *_towers(config, stage, words)
    kept = moments(stage)
    sampled, sharded = (config.model.softmax == name for name in ("sampled", "sharded"))
    own = rows_of_share(rows, replicas) if sharded else rows
    share = FLOAT * own * config.embedding_size
    drawn = min(config.model.sampled_classes, rows) if sampled else own
    arrays = DRAWN_ARRAYS if sampled else STEP_ARRAYS
    average = bool(stage.average)
    held = [
        Part("TensorFlow and data", PROCESS),
        Part("class weights", share),
        Part("class moments", kept * share),
        Part("towers with gradients, moments and copies", towers + (2 + kept + average) * trained),
        Part("best weights so far", (size + towers) if stage.keep == "best" else 0),
        Part("moving average of class weights", share * (average and not sampled)),
    ]
    local = -(-batch // replicas)
    passed = -(-local // stage.accumulate)
    step = [
        Part("class gradients", arrays * FLOAT * drawn * config.embedding_size if rows else 0),
        Part("logits", LOGITS * FLOAT * drawn * (batch if sharded else local) * (1 + config.data.captions)),
        Part("activations of the text tower", text_activations(config, passed * config.data.captions)),
    ]
    # A checkpoint is written from the memory of the variables. Of shared rows the chief has a copy, and so it has of
    # variables that are updated by rows: TensorFlow copies them when they are read.
    copied = 1 + kept + average if sharded else 1 + kept if sampled else 0
    save = [Part("copy of the classes for a checkpoint", copied * size)]
    decodes = not stage.cached_views
    unknown = ["activations of the image backbone"] if decodes else []
    unknown += [] if backbone_parameters(config.image_tower) is not None else ["weights of the image backbone"]
    steps = images // batch
    hours = stage.epochs * images / speed / 3600 if speed else None
    return StagePlan(stage.name, steps, stage.epochs, hours, _some(held), _some(step), _some(save), tuple(unknown))


def _some(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.bytes)


def _towers(config: Config, stage: Stage, words: int) -> tuple[int, int]:
    """Bytes of the weights of both towers, and of those that the stage trains."""
    backbone = FLOAT * (backbone_parameters(config.image_tower) or 0)
    width = feature_dimensions(config.image_tower) or 2048
    head = FLOAT * width * config.embedding_size
    text = FLOAT * text_parameters(config, words)
    parts = {"backbone": backbone, "image_head": head, "text_tower": text}
    return sum(parts.values()), sum(bytes_ for name, bytes_ in parts.items() if name not in stage.freeze)


def _saved(config: Config, stage: Stage, rows: int, words: int) -> int:
    """Bytes of a checkpoint: weights, moments, averages and the best weights."""
    size, towers, trained = FLOAT * rows * config.embedding_size, *_towers(config, stage, words)
    average = bool(stage.average)
    averaged = trained + size * (config.model.softmax != "sampled")
    kept = (size + towers) if stage.keep == "best" else 0
    return size + towers + moments(stage) * (size + trained) + average * averaged + kept


def measured_speeds(run: Path) -> tuple[float, ...]:
    """Images a second of each stage of a finished run, from its metrics.json.

    Raises:
        RunError: it has none.
    """
    file = run / "metrics.json"
    try:
        stages = json.loads(file.read_text(encoding="utf-8"))["stages"]
        speeds = tuple(float(stage["images_per_s"]) for stage in stages)
    except (OSError, ValueError, KeyError, TypeError):
        speeds = ()
    if not speeds or min(speeds) <= 0:
        raise RunError(f"{file} has no measured speed; give the directory of a finished run, or --images-per-s")
    return speeds
