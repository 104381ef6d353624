"""Training with a sampled softmax, continued after a kill, and a run that starts from it with other images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.config import Config, load_config
from itembed_tf.pipeline import train
from itembed_tf.training.build import load_model
from itembed_tf.training.run_data import read_records
from itembed_tf.training.run_directory import open_run, save_weights, write_metrics
from tests.support.small_run import SMALL, dataset_settings

TRAINING = ['stages=[{name="I", epochs=1, batch_size=2, cached_views=1, keep="last"}]', "evaluation.flip=false"]
SAMPLED = ["model.softmax=sampled", "model.sampled_classes=4"]


def settings(dataset: Path, *overrides: str) -> Config:
    return load_config(None, [*SMALL, *dataset_settings(dataset), *TRAINING, *overrides])


@pytest.fixture
def only_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of `finish_run`: the final weights and the metrics that name them."""

    def write(config: Config, path: Path, vocabulary: Any, by_split: dict[str, list[Any]], *_: Any, **rest: Any) -> Any:
        save_weights(path, rest["model"])
        metrics = {
            "schema": 1,
            "finished": True,
            "classes": len(by_split["train"]),
            "vocabulary": vocabulary.checksum(),
        }
        write_metrics(path, metrics)
        return metrics

    monkeypatch.setattr(train, "finish_run", write)


def class_weights(run: Path) -> dict[str, np.ndarray]:
    """The weights of each class, by the id of its group."""
    groups = [record.id for record in read_records(run) or [] if record.split == "train"]
    return dict(zip(groups, load_model(open_run(run)).get_layer("classifier").class_weights.numpy(), strict=True))


@pytest.mark.usefixtures("shallow_backbone", "deterministic_ops_end", "only_weights")
def test_a_run_grows_and_shrinks_into_another_one(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, first, second = tmp_path / "images", tmp_path / "first", tmp_path / "second"
    shutil.copytree(small_dataset, images)
    train.train(settings(images, *SAMPLED), first)
    history = [json.loads(line) for line in (first / "history.jsonl").read_text().splitlines()]
    assert np.isfinite(list(history[0]["train"].values())).all()
    rows = (images / "captions.csv").read_text().splitlines()
    for new in ("x.png", "y.png"):
        shutil.copy(images / "1.png", images / new)
        rows.append(f"{new},a zebra runs,train")
    (images / "captions.csv").write_text("\n".join([row for row in rows if not row.startswith("2.png")]) + "\n")
    capsys.readouterr()
    config = settings(images, f'from_run="{first}"', "stages.0.learning_rate=0")
    train.train(config, second)
    out = capsys.readouterr().out
    assert f"classes: 7 with the weights that {first} has trained, 2 new, 1 removed" in out
    assert "softmax: full, over 9 classes, which need 0.0 GB" in out
    assert (second / "vocabulary.txt").read_bytes() == (first / "vocabulary.txt").read_bytes()
    before, after = class_weights(first), class_weights(second)
    kept = before.keys() & after.keys()
    assert len(kept) == 7 and all(np.array_equal(before[group], after[group]) for group in kept)
    one, other = (after[group] for group in after.keys() - kept)
    np.testing.assert_allclose(one, other, atol=1e-6, err_msg="both are imprinted by the same image")
    assert np.linalg.norm(one) == pytest.approx(np.mean([np.linalg.norm(after[g]) for g in kept]), rel=1e-4)
    assert load_config(second / "config.toml").model.softmax == "full"
    assert train.train(config, second)["finished"], "the same command: auto is what the run has chosen"
