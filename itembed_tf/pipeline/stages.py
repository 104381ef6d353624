"""The stages of a training run: their data, their evaluation on dev, their checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import keras

from itembed_tf.config import DISTILLATION, Config, Stage, arguments, dump_config
from itembed_tf.data.batches import Epoch, Items, batches, draw_epoch, share_of
from itembed_tf.data.images import augment_image
from itembed_tf.data.sources import feature_source, image_source
from itembed_tf.evaluation.embeddings import embedder
from itembed_tf.evaluation.protocols import selection_score
from itembed_tf.pipeline.steps import stage_title
from itembed_tf.pipeline.time_left import image_seconds, seconds_after_stage
from itembed_tf.progress import Steps
from itembed_tf.retrieval import RetrievalTable, retrieval_table, with_chance
from itembed_tf.text import Vocabulary
from itembed_tf.training.checkpoints import (
    Arrays,
    Checkpoint,
    named_variables,
    restore,
    save_checkpoint,
    values,
    with_prefix,
)
from itembed_tf.training.distributed_step import Parts, parts_of_batches
from itembed_tf.training.distribution import ONE, Replicas, WorkerLost
from itembed_tf.training.epoch_log import log_epoch, read_history
from itembed_tf.training.failed_batch import stop_at
from itembed_tf.training.frozen_outputs import caption_features, image_features
from itembed_tf.training.loggers import TrainingLogger, open_loggers
from itembed_tf.training.shared_weights import share_weights
from itembed_tf.training.stage import train_stage
from itembed_tf.training.state import EpochEntry, RunState, StageState
from itembed_tf.training.step import Batch
from itembed_tf.training.step_scalars import NotFinite
from itembed_tf.training.train_set import TrainSet

Histories = Sequence[Sequence[EpochEntry]]


def run_stages(
    config: Config,
    path: Path,
    model: keras.Model,
    vocabulary: Vocabulary,
    train: TrainSet,
    dev: Items,
    saved: Checkpoint | None,
    steps: Steps,
    loggers: Sequence[TrainingLogger] = (),
    replicas: Replicas = ONE,
) -> Histories:
    """Run the stages that are not finished yet; return the histories of all stages.

    `loggers` get the figures of each epoch, beside those that the config names. All workers of `replicas` call it
    together; the chief alone has `saved`, evaluates on dev, and writes into `path`.
    """
    state, arrays = (saved.state, saved.arrays) if saved else (RunState(), {})
    weights = named_variables("model", model.variables, model)
    continued = replicas.from_chief(lambda: bool(saved))
    if replicas.workers > 1:
        state = RunState.from_json(replicas.from_chief(state.to_json))
    if continued:  # before features of the backbone are computed
        restore(weights, with_prefix(arrays, "model"), replicas)
        if not state.stage:
            arrays.clear()  # no stage takes them, and they would stay in memory
        if replicas.is_chief:
            read_history(path)  # a damaged one is refused here rather than after an epoch
    else:
        share_weights(model, weights, replicas)
    histories, text = list(state.histories), dump_config(config)
    if len(histories) == len(config.stages):
        return histories
    done = sum(map(len, histories)) + (state.stage.epoch if state.stage else 0)
    opening = open_loggers(config, path, done + 1, loggers) if replicas.is_chief else nullcontext(())
    with opening as opened, replicas.losses_named():
        histories = _train_stages(
            config, path, model, vocabulary, train, dev, (state, arrays), steps, opened, text, replicas
        )
    last = Checkpoint(RunState(histories, None, train.checksums, text), values(weights, replicas))
    if replicas.is_chief:
        save_checkpoint(path, last, config.stages[-1].checkpoints)
    return histories


def _train_stages(
    config: Config,
    path: Path,
    model: keras.Model,
    vocabulary: Vocabulary,
    train: TrainSet,
    dev: Items,
    saved: tuple[RunState, Arrays],
    steps: Steps,
    loggers: Sequence[TrainingLogger],
    text: str,
    replicas: Replicas,
) -> list[Sequence[EpochEntry]]:
    """`run_stages` without the checkpoint of its end; `text` is the config that checkpoints hold."""
    state, arrays = saved
    histories = list(state.histories)
    forward, images = image_seconds(config.stages[len(histories) :], model), len(train.items.images)
    resume = (state.stage, arrays) if state.stage else None
    if resume and replicas.is_chief:
        print(continues(config, state), flush=True)
    for number in range(len(histories), len(config.stages)):
        stage = config.stages[number]
        steps.start(stage_title(stage.name))
        before = list(histories)
        for logger in loggers:
            logger.on_stage(stage, sum(map(len, before)) + (resume[0].epoch if resume else 0) + 1)

        def save(inside: StageState, values: Arrays, before: Histories = before, keep: int = stage.checkpoints) -> None:
            save_checkpoint(path, Checkpoint(RunState(before, inside, train.checksums, text), values), keep)

        time_after = partial(seconds_after_stage, config, number, images, forward)
        report = partial(log_epoch, path, loggers, before, stage, time_after)
        try:
            history = train_stage(
                model,
                stage,
                batches=batches_of(config, model, train, stage, number, replicas),
                steps_per_epoch=train.steps_per_epoch(stage.batch_size),
                evaluate=_evaluation(config, model, dev, vocabulary, stage, replicas),
                selection_score=lambda val: selection_score(RetrievalTable.from_json(val), config.dataset.name),
                trained=number > 0 or config.model.start == "cca" or bool(config.from_run),
                resume=resume,
                save=save,
                report=report if replicas.is_chief else _no_report,
                replicas=replicas,
            )
        except NotFinite as error:
            if not replicas.is_chief:
                raise WorkerLost(f"stage {stage.name}, {error}: worker 0 says what can be done") from error
            drawn = draw(config, train, stage, number, error.epoch)
            stop_at(error, path, stage, drawn, train.items, config.precision)
        histories.append(history)
        resume = None
    return histories


def _no_report(entry: EpochEntry) -> None:
    """What a worker reports that is not the chief."""


def continues(config: Config, state: RunState) -> str:
    """A line that says where a run continues."""
    if state.stage is None:
        return "continues after the last stage"
    stage = config.stages[len(state.histories)]
    if state.stage.epoch == stage.epochs:
        return f"continues at the end of stage {stage.name}"
    return f"continues stage {stage.name} at epoch {state.stage.epoch + 1}, step {state.stage.step + 1}"


def batches_of(
    config: Config, model: keras.Model, train: TrainSet, stage: Stage, number: int, replicas: Replicas = ONE
) -> Callable[[int, int], Iterable[Batch | Parts]]:
    """A function from (epoch, first step) to the batches of that epoch, or this process's parts of them."""
    text_features = None
    teacher = train.teacher if DISTILLATION in stage.losses else None
    if stage.cached_views:
        views = image_features(config, model, train.items, stage.cached_views, mirror=config.augmentation.flip)
        source, text_features = feature_source(views), caption_features(model, train.ids)
    else:
        augment = partial(augment_image, size=config.image.size, **arguments(config.augmentation))
        source = image_source(train.items.images, augment)

    def of_epoch(epoch: int, first_step: int) -> Iterable[Batch | Parts]:
        drawn = draw(config, train, stage, number, epoch)
        if replicas.count == 1:
            return batches(drawn, first_step, source, train.classes, text_features, teacher)
        own = share_of(drawn, replicas.local, replicas.count)
        first = first_step * len(replicas.local)
        return parts_of_batches(batches(own, first, source, train.classes, text_features, teacher), replicas)

    return of_epoch


def draw(config: Config, train: TrainSet, stage: Stage, number: int, epoch: int) -> Epoch:
    """The samples of an epoch of the stage of this number."""
    return draw_epoch(
        train.items,
        train.ids,
        **arguments(config.data),
        batch_size=stage.batch_size,
        mining=stage.mining,
        seed=(config.seed, number, epoch),
    )


def _evaluation(
    config: Config, model: keras.Model, dev: Items, vocabulary: Vocabulary, stage: Stage, replicas: Replicas
) -> Callable[[], dict[str, Any]] | None:
    """What `train_stage` takes to evaluate; the chief alone does it."""
    if not dev.images:
        return None
    return _dev_table(config, model, dev, vocabulary, stage) if replicas.is_chief else dict


def _dev_table(
    config: Config, model: keras.Model, dev: Items, vocabulary: Vocabulary, stage: Stage
) -> Callable[[], dict[str, Any]]:
    """A function that evaluates the model on dev and returns the retrieval table as history.jsonl holds it."""
    frozen, flip = "backbone" in stage.freeze, config.evaluation.flip
    features = image_features(config, model, dev, 1 + flip, mirror=flip) if frozen else None
    settings = arguments(config.image) | arguments(config.evaluation) | {"crops": 0}  # crops are for the final weights
    embed = embedder(model, dev, vocabulary, **settings, features=features)

    def evaluate() -> dict[str, Any]:
        embeddings = embed()
        table = retrieval_table(embeddings.images, embeddings.captions, dev.image_groups, dev.caption_groups)
        return with_chance(table, dev.image_groups, dev.caption_groups).to_json()

    return evaluate
