"""Evaluation of a run whose data has moved: the error says how to name its folder, and the figures stay comparable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from itembed_tf.evaluation.evaluate import evaluate_run


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
