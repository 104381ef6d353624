"""One training stage: what is frozen, its optimiser, its compiled step, its loop and its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from typing import Any

import keras
from tqdm import tqdm

from itembed_tf.config import Stage
from itembed_tf.interruption import uninterrupted
from itembed_tf.progress import running_clock
from itembed_tf.training.averages import Averages, averaged_variables
from itembed_tf.training.batch_norms import synchronise_batch_norms
from itembed_tf.training.checkpoints import Arrays
from itembed_tf.training.distributed_step import Parts, distributed_step
from itembed_tf.training.distribution import ONE, Replicas
from itembed_tf.training.freezing import freeze_parts, part_names
from itembed_tf.training.optimizer import make_optimizer
from itembed_tf.training.requests import Requests, signals_as_requests
from itembed_tf.training.stage_progress import SaveStage, StageProgress
from itembed_tf.training.state import EpochEntry, StageState
from itembed_tf.training.step import Batch, Step, compiled_step, training_step
from itembed_tf.training.step_scalars import StepScalars, check_finite


def train_stage(
    model: keras.Model,
    stage: Stage,
    *,
    batches: Callable[[int, int], Iterable[Batch | Parts]],
    steps_per_epoch: int,
    evaluate: Callable[[], dict[str, Any]] | None,
    selection_score: Callable[[dict[str, Any]], float],
    trained: bool,
    resume: tuple[StageState, Arrays] | None,
    save: SaveStage,
    report: Callable[[EpochEntry], None],
    replicas: Replicas = ONE,
) -> list[EpochEntry]:
    """Train `model` in place and leave it with the weights that ``stage.keep`` selects; return the history.

    Ctrl-C, and SIGTERM where the program handles it, save a checkpoint before they end the stage.

    Args:
        model: the dual-path model.
        stage: settings of the stage.
        batches: gives the batches of an epoch from a step on; see `itembed_tf.data.batches.batches`.
        steps_per_epoch: number of steps of an epoch.
        evaluate: gives the retrieval table of the model on dev; None without a dev split.
        selection_score: score of such a table; with ``stage.keep`` "best" the highest one selects the weights.
        trained: whether the weights come from an earlier stage. With ``stage.keep`` "best" they are then evaluated
            first, and a stage that makes them worse leaves them unchanged.
        resume: the last arguments of `save`, to continue from there; its arrays are taken, and the dict is emptied.
        save: writes a checkpoint.
        report: receives every finished epoch, before its checkpoint: a continued run may report an epoch again.
        replicas: that share each batch; the model is made in their scope, and `batches` gives `Parts`. All workers call
            this function together; `evaluate` and `save` are called by the chief alone, whose `resume` has the arrays.

    Raises:
        ValueError: settings that exclude each other, naming them.
        RunError: `resume` is of another model or stage.
        NotFinite: the loss or a weight is NaN or infinite; no checkpoint has such a weight.
    """
    if stage.cached_views and "backbone" not in stage.freeze:
        raise ValueError(
            f"stage {stage.name}: cached_views = {stage.cached_views} needs a frozen backbone: add backbone to freeze"
        )
    freeze_parts(model, stage.freeze)  # before the optimiser is built and the step traced: neither sees a later change
    network = model.on_features if stage.cached_views else model
    with replicas.scope():
        optimizer = make_optimizer(
            stage,
            steps_per_epoch=steps_per_epoch,
            part_of=part_names(model),
            loss_scaling=model.dtype_policy.name == "mixed_float16",
        )
        optimizer.build(network.trainable_variables)
        averages = Averages(averaged_variables(network), stage.average)
    requests = Requests()
    if stage.jit and replicas.count > 1 and replicas.is_chief:
        print(f"stage {stage.name}: jit = true has no effect with {replicas.count} replicas", flush=True)
    if replicas.count == 1:
        step = compiled_step(network, optimizer, averages, stage)
    else:
        synchronise_batch_norms(network)
        step = distributed_step(training_step(network, optimizer, averages, stage), replicas, requests)
    progress = StageProgress(model, optimizer, averages, stage, resume, save, replicas, requests)
    state = progress.state
    try:
        with signals_as_requests(requests) if replicas.workers > 1 else nullcontext():
            if not resume:
                if evaluate and trained and stage.keep == "best":
                    progress.keep_weights(selection_score(replicas.from_chief(evaluate)))
                progress.save()
            for epoch in range(state.epoch, stage.epochs):
                title = f"stage {stage.name}, epoch {epoch + 1}/{stage.epochs}"
                due = progress.save_if_older_than(60 * stage.checkpoint_minutes)
                run_epoch(step, batches(epoch, state.step), progress.scalars, due, title, steps_per_epoch, replicas)
                check_finite(progress.weights, state, replicas)
                table = None
                if evaluate and ((epoch + 1) % stage.evaluate_every == 0 or epoch + 1 == stage.epochs):
                    with averages.in_place():
                        table = replicas.from_chief(evaluate)
                        if stage.keep == "best" and selection_score(table) > state.best:
                            progress.keep_weights(selection_score(table))
                entry = _epoch_entry(stage.name, state, optimizer, table)
                with uninterrupted():
                    state.finish_epoch(entry)
                    report(entry)
                progress.agree()
                due()
    except KeyboardInterrupt as interrupt:
        if replicas.workers > 1:  # all have saved together, or this one stops at once
            raise
        progress.save()
        raise type(interrupt)(f"a checkpoint was saved at {progress.place()}") from None
    averages.assign()
    progress.assign_best()
    return state.history


def run_epoch(
    step: Step,
    batches: Iterable[Batch | Parts],
    scalars: StepScalars,
    after_step: Callable[[], None],
    title: str,
    steps: int,
    replicas: Replicas = ONE,
) -> None:
    """Run the rest of an epoch of `steps` steps.

    The state of `scalars` is up to date after each of them, but for the sums, which are so after `scalars.read()`.
    """
    state = scalars.state
    started, before = time.monotonic(), state.seconds
    bar: Any = None
    with ExitStack() as stack:
        for batch in batches:
            parts = [batch] if isinstance(batch, dict) else batch
            size = sum(int(part["classes"].shape[0]) for part in parts) * replicas.workers
            with uninterrupted():  # the weights and the state change together
                if bar is None:  # the first step of a stage is traced and compiled, which can take a minute
                    with running_clock("compiling the training step"):
                        scalars.add(step(batch))
                    progress = tqdm(
                        desc=title,
                        unit=" images",
                        total=steps * size,
                        initial=state.images,
                        disable=not replicas.is_chief,
                    )
                    bar = stack.enter_context(progress)
                else:
                    scalars.add(step(batch))
                state.step += 1
                state.images += size
                state.seconds = before + time.monotonic() - started
            scalars.read_if_due()
            if state.sums and not scalars.waiting:
                bar.set_postfix(loss=f"{state.sums['loss'] / state.step:.3f}", refresh=False)
            bar.update(size)
            after_step()
        scalars.read()
        state.seconds = before + time.monotonic() - started


def _epoch_entry(
    name: str, state: StageState, optimizer: keras.optimizers.Optimizer, table: dict[str, Any] | None
) -> EpochEntry:
    return EpochEntry(
        stage=name,
        epoch=state.epoch + 1,
        seconds=round(state.seconds, 2),
        images_per_s=round(state.images / max(state.seconds, 1e-9), 1),
        learning_rate=float(optimizer.learning_rate),
        train={key: value / max(state.step, 1) for key, value in state.sums.items()},
        val=table,
    )
