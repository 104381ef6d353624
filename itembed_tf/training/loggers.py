"""Loggers of a training: TensorBoard, MLflow and Weights & Biases, each an object with three methods."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from itembed_tf.config import Config, Stage, flat_settings
from itembed_tf.errors import UserError
from itembed_tf.files import write_atomically
from itembed_tf.training.errors import RunError

LOGS = "logs"  # folder of a run directory
PROJECT = "itembed"  # experiment of MLflow, project of W&B, where the environment names none


class TrainingLogger(Protocol):
    """Callbacks of a training. Steps are epochs, counted from 1 over all stages.

    A run that was killed after an epoch and before its checkpoint reports that epoch again when it is continued.
    """

    def on_stage(self, stage: Stage, step: int) -> None:
        """A stage begins, or continues, whose next epoch has the number `step`."""

    def on_epoch(self, step: int, figures: Mapping[str, float]) -> None:
        """An epoch has ended: ``train/loss``, ``learning_rate``, ``dev/rsum``, ``dev/image_query R@1``, ..."""

    def on_end(self, finished: bool) -> None:
        """The last stage has ended, or, where `finished` is False, an interrupt or an error has ended the training."""


class TensorBoardLogger:
    """Scalars for TensorBoard in ``logs/``.

    It first writes the event by which TensorBoard drops what it has from `step` on: a run that was killed after an
    epoch and before its checkpoint logs that epoch again.
    """

    def __init__(self, config: Config, path: Path, step: int) -> None:
        folder = path / LOGS
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        # Event files are read in the order of their names; this comes just before that of the writer, ending in v2.
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.0.start"
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        with tf.io.TFRecordWriter(str(folder / name)) as file:
            file.write(tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
            file.write(tf.compat.v1.Event(wall_time=now, step=step, session_log=start).SerializeToString())
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_stage(self, stage: Stage, step: int) -> None:
        """TensorBoard has no stages."""

    def on_epoch(self, step: int, figures: Mapping[str, float]) -> None:
        with self._writer.as_default(step):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def on_end(self, finished: bool) -> None:
        self._writer.close()


class MlflowLogger:
    """A run of MLflow, at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME (default: itembed)."""

    def __init__(self, config: Config, path: Path, step: int) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        self._run = _known_id(path, "mlflow", step)
        if self._run is None:
            known = self._client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self._client.create_experiment(name)
            self._run = str(self._client.create_run(experiment, run_name=path.name).info.run_id)
            for key, value in flat_settings(config):
                self._client.log_param(self._run, _mlflow_name(key), value[:500])  # the limit of older servers
            _keep_id(path, "mlflow", self._run)
        else:
            self._client.update_run(self._run, status="RUNNING")

    def on_stage(self, stage: Stage, step: int) -> None:
        self._client.set_tag(self._run, "stage", stage.name)

    def on_epoch(self, step: int, figures: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(_mlflow_name(name), value, now, step) for name, value in figures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def on_end(self, finished: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if finished else "KILLED")


class WandbLogger:
    """A run of Weights & Biases, in the project WANDB_PROJECT (default: itembed); WANDB_MODE=offline keeps it here."""

    def __init__(self, config: Config, path: Path, step: int) -> None:
        import wandb

        known = _known_id(path, "wandb", step)
        folder = path / LOGS
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=path.name,
            dir=str(folder),
            id=known,
            resume="allow" if known else None,
            config=dict(flat_settings(config)),
            settings=wandb.Settings(console="off", silent=True),
        )
        _keep_id(path, "wandb", self._run.id)

    def on_stage(self, stage: Stage, step: int) -> None:
        self._run.summary["stage"] = stage.name

    def on_epoch(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def on_end(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


class _Unreliable:
    """A logger of a service: an error of it is a warning and switches it off, as no training should end by it."""

    def __init__(self, name: str, logger: TrainingLogger) -> None:
        self._name, self._logger = name, logger

    def on_stage(self, stage: Stage, step: int) -> None:
        self._call("on_stage", stage, step)

    def on_epoch(self, step: int, figures: Mapping[str, float]) -> None:
        self._call("on_epoch", step, figures)

    def on_end(self, finished: bool) -> None:
        self._call("on_end", finished)

    def _call(self, method: str, *args: Any) -> None:
        if self._name:
            try:
                getattr(self._logger, method)(*args)
            except Exception as error:
                warnings.warn(f"{self._name} gets no further figures of this training: {_line(error)}", stacklevel=2)
                self._name = ""


LOGGERS: dict[str, Callable[[Config, Path, int], TrainingLogger]] = {
    "tensorboard": TensorBoardLogger,
    "mlflow": MlflowLogger,
    "wandb": WandbLogger,
}


@contextmanager
def open_loggers(
    config: Config, path: Path, step: int, others: Sequence[TrainingLogger] = ()
) -> Iterator[list[TrainingLogger]]:
    """The loggers that a config names, and `others`, for a run whose next epoch has the number `step`.

    Raises:
        RunError: MLflow or W&B refuse, as where their server cannot be reached.
    """
    loggers: list[TrainingLogger] = []
    finished = False
    try:
        for name in config.loggers:
            loggers.append(_open(name, config, path, step))
        loggers += others
        yield loggers
        finished = True
    finally:
        for logger in loggers:
            logger.on_end(finished)


def _open(name: str, config: Config, path: Path, step: int) -> TrainingLogger:
    if name == "tensorboard":
        return TensorBoardLogger(config, path, step)
    try:
        return _Unreliable(name, LOGGERS[name](config, path, step))
    except UserError:
        raise
    except Exception as error:
        raise RunError(
            f"loggers: {name} cannot be used ({_line(error)}); check its settings, or leave it out"
        ) from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _mlflow_name(name: str) -> str:
    return name.replace("@", "_at_")  # MLflow allows no @


def _known_id(path: Path, name: str, step: int) -> str | None:
    """The id under which the service knows a run that is continued."""
    file = path / LOGS / f"{name}.txt"
    return file.read_text(encoding="utf-8").strip() if step > 1 and file.is_file() else None


def _keep_id(path: Path, name: str, id: str) -> None:
    write_atomically(path / LOGS / f"{name}.txt", f"{id}\n")
