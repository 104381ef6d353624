"""Loggers of a training: TensorBoard, MLflow's own store and server, W&B offline, and an object of the user."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from itembed_tf.config import Config, Stage
from itembed_tf.training.epoch_log import log_epoch
from itembed_tf.training.errors import RunError
from itembed_tf.training.loggers import open_loggers
from itembed_tf.training.state import EpochEntry
from tests.support.waiting import wait_until

STAGE = Stage(name="I", epochs=3)
TABLE = {"image_query": {"R@1": 40.0}, "text_query": {"R@1": 30.0}, "rsum": 250.0}


def entry(epoch: int, loss: float) -> EpochEntry:
    return EpochEntry("I", epoch, 60.0, 120.4, 1e-3, {"loss": loss}, TABLE)


def train(path: Path, loggers: tuple[str, ...], losses: Mapping[int, float], others: list = ()) -> None:
    """Report epochs as a stage does."""
    with open_loggers(replace(Config(), loggers=loggers), path, min(losses), others) as opened:
        for logger in opened:
            logger.on_stage(STAGE, min(losses))
        for epoch, loss in losses.items():
            log_epoch(path, opened, [], STAGE, float, entry(epoch, loss))


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def on_stage(self, stage, step):
        self.calls.append(("stage", stage.name, step))

    def on_epoch(self, step, figures):
        self.calls.append(("epoch", step, figures["train/loss"], figures["dev/image_query R@1"]))

    def on_end(self, finished):
        self.calls.append(("end", finished))


def test_an_object_of_the_user_is_told_of_stages_epochs_and_the_end(tmp_path):
    recorder = Recorder()
    train(tmp_path, (), {1: 2.5, 2: 1.5}, [recorder])
    assert recorder.calls == [("stage", "I", 1), ("epoch", 1, 2.5, 40.0), ("epoch", 2, 1.5, 40.0), ("end", True)]
    with pytest.raises(KeyboardInterrupt), open_loggers(replace(Config(), loggers=()), tmp_path, 3, [recorder]):
        raise KeyboardInterrupt
    assert recorder.calls[-1] == ("end", False)
    assert not (tmp_path / "logs").exists(), "no logger, no log"


def test_tensorboard_shows_each_epoch_once(tmp_path):
    """A run that logged epochs 1 to 3 and went back to its checkpoint, before epoch 2."""
    for first, losses in ((1, (1.0, 2.0, 3.0)), (2, (20.0, 30.0, 40.0))):
        train(tmp_path, ("tensorboard",), dict(enumerate(losses, first)))
        time.sleep(1.1)  # names of event files have seconds and the process, which a continued run has another of
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    shown = [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors("train/loss")]
    assert shown == [(1, 1.0), (2, 20.0), (3, 30.0), (4, 40.0)]


def check_mlflow(address: str, run: Path) -> None:
    """A training of two epochs, continued for a third, is one run with three epochs."""
    from mlflow import MlflowClient

    train(run, ("mlflow",), {1: 3.0, 2: 2.0})
    train(run, ("mlflow",), {3: 1.0})
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("tests")
    (found,) = client.search_runs([experiment.experiment_id])
    losses = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in losses] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert found.data.metrics["dev/image_query R_at_1"] == 40.0
    assert found.data.params["embedding_size"] == "2048" and found.data.params["stages.0.name"] == '"I"'
    assert (found.info.run_name, found.info.status, found.data.tags["stage"]) == (run.name, "FINISHED", "I")


def test_mlflow_keeps_a_continued_run_as_one(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    check_mlflow(address, tmp_path / "run")


@pytest.mark.slow
def test_mlflow_by_its_own_server(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/m.db"]
    process = subprocess.Popen([sys.executable, "-m", "mlflow", *command], cwd=tmp_path)

    def answers() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
        except OSError:
            return False

    try:
        wait_until(answers, 120)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
        check_mlflow(address, tmp_path / "run")
    finally:
        process.terminate()
        process.wait(30)


def test_a_server_that_is_gone_stops_before_the_training_and_not_within_it(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(RunError, match="mlflow cannot be used"):
        train(tmp_path, ("mlflow",), {1: 3.0})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", lambda *_, **__: 1 / 0)
    with pytest.warns(UserWarning, match="mlflow gets no further figures.*division"):
        train(tmp_path / "run", ("mlflow",), {1: 3.0, 2: 2.0})
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 2


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path / "run", ("wandb",), {1: 3.0, 2: 2.0})
    (file,) = (tmp_path / "run" / "logs").rglob("run-*.wandb")
    content = file.read_bytes()
    assert b"train/loss" in content and b"dev/image_query R@1" in content and b"embedding_size" in content
    assert (tmp_path / "run" / "logs" / "wandb.txt").read_text().strip() in file.name
