"""Evaluation of a run whose data has moved: the error says how to name its folder, and the figures stay comparable."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest

from itembed_tf.config import arguments, load_config
from itembed_tf.data.readers import read_dataset
from itembed_tf.evaluation.evaluate import evaluate_run
from itembed_tf.training.run_data import group_records, write_records

pytestmark = pytest.mark.usefixtures("shallow_backbone")


def test_data_that_moved_can_be_named(small_run: Path, small_dataset: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    config = run / "config.toml"
    config.write_text(config.read_text().replace(json.dumps(str(small_dataset)), '"gone"'))
    with pytest.raises(FileNotFoundError, match=r"dataset.root = 'gone' (.|\n)*--set dataset.root=FOLDER"):
        evaluate_run(run, "dev")
    here = f"dataset.root={json.dumps(str(small_dataset))}"
    assert evaluate_run(run, "dev", [here, "evaluation.flip=false"]).gallery_images == 8
    assert not (run / "ranks").exists(), "figures of other settings are not those of the run"
    evaluate_run(run, "dev", [here])
    assert [file.suffix for file in (run / "ranks").iterdir()] == [".npz"]


def test_a_split_that_has_changed_since_the_training_is_reported(
    small_run: Path, small_dataset: Path, tmp_path: Path
) -> None:
    run, data = shutil.copytree(small_run, tmp_path / "run"), shutil.copytree(small_dataset, tmp_path / "data")
    here = [f"dataset.root={json.dumps(str(data))}"]
    dataset = arguments(load_config(run / "config.toml", here).dataset)
    write_records(run, group_records(read_dataset(**dataset), str(data)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate_run(run, "dev", here)
    (data / "1.png").rename(data / "one.png")
    captions = data / "captions.csv"
    captions.write_text(captions.read_text().replace("\n1.png", "\none.png"))
    with pytest.warns(UserWarning, match=r"dev split has changed .*renamed: 1.png to one.png.* the present data"):
        evaluate_run(run, "dev", here)
