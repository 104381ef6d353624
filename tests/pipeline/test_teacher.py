"""A run that learns the similarities of a finished one, the teacher; teachers that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from itembed_tf.config import Config, arguments, load_config
from itembed_tf.data.readers import read_dataset
from itembed_tf.pipeline import train
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_data import group_records, write_records
from itembed_tf.training.run_directory import save_weights, write_metrics
from tests.conftest import two_stages
from tests.support.small_run import SMALL, dataset_settings

TRAINING = [
    "stages.0.epochs=1",
    "stages.0.batch_size=8",
    "stages.0.cached_views=1",
    "stages.0.average=0.0",
    "stages.0.keep=last",
    "max_broken_percent=0",
    "model.classifier=none",
]


def settings(dataset: Path, teacher: Path, *more: str) -> Config:
    distilled = [f'distill_from="{teacher}"', "stages.0.losses={distillation = 1.0}"]
    return load_config(None, [*SMALL, *dataset_settings(dataset), *TRAINING, *distilled, *more])


def only_weights(
    config: Config, path: Path, vocabulary: Any, by_split: Any, histories: Any, skipped: Any, **rest: Any
) -> dict[str, Any]:
    """As `finish_run`, without exports, calibration and report, which know nothing of a teacher."""
    save_weights(path, rest["model"])
    metrics = {"schema": 1, "finished": True, "classes": 8}
    write_metrics(path, metrics)
    return {**metrics, "histories": histories}


@pytest.fixture(autouse=True)
def short_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(train, "finish_run", only_weights)
    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path / "cache"))
    with two_stages():
        yield


def test_the_similarities_come_near_those_of_the_teacher(small_dataset: Path, small_run: Path, tmp_path: Path) -> None:
    longer = ("stages.0.epochs=30", "stages.0.evaluate_every=30")
    metrics = train.train(settings(small_dataset, small_run, *longer), tmp_path / "run")
    # Each epoch is one batch in another order: with rows of other images or captions, the loss would not fall.
    losses = [epoch.train["distillation"] for epoch in metrics["histories"][0]]
    assert losses[-1] < 0.2 * losses[0], losses


def test_a_teacher_that_was_trained_on_dev_is_refused(small_dataset: Path, small_run: Path, tmp_path: Path) -> None:
    data, teacher = tmp_path / "data", tmp_path / "teacher"
    shutil.copytree(small_dataset, data)
    shutil.copytree(small_run, teacher)
    dataset = load_config(None, dataset_settings(small_dataset)).dataset
    write_records(teacher, group_records(read_dataset(**arguments(dataset)), dataset.root, dataset.images))
    captions = (data / "captions.csv").read_text()
    (data / "captions.csv").write_text(captions.replace(",train\n", ",dev\n", 1))
    with pytest.raises(RunError, match=r"trained on 1 groups that are in dev or test here, such as 0"):
        train.train(settings(data, teacher), tmp_path / "run")


def test_an_unfinished_teacher_is_refused_before_the_data_is_read(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "teacher")
    (tmp_path / "teacher" / "metrics.json").write_text(json.dumps({"schema": 1}))
    with pytest.raises(RunError, match=r"distill_from: .* has not finished; continue it with: itembed train"):
        train.train(settings(tmp_path / "nowhere", tmp_path / "teacher"), tmp_path / "run")


def test_a_run_is_not_continued_with_another_teacher(small_dataset: Path, small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "teacher")
    config, run = settings(small_dataset, tmp_path / "teacher"), tmp_path / "run"

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "add_memory", killed)  # after the checkpoint of the end of training
        with pytest.raises(KeyboardInterrupt):
            train.train(config, run)
    weights = tmp_path / "teacher" / "weights" / "final.weights.h5"
    weights.write_bytes(weights.read_bytes() + b"other")
    with pytest.raises(RunError, match=r"final\.weights\.h5 is not the one with which this run began"):
        train.train(config, run)
