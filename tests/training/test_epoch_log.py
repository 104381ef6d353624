"""The log of a finished epoch, on the screen and in history.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

from itembed_tf.config import Stage
from itembed_tf.training.epoch_log import epoch_line, log_epoch, read_history
from itembed_tf.training.state import EpochEntry

STAGE = Stage(name="I", epochs=10)
TABLE = {"image_query": {"R@1": 40.0}, "text_query": {"R@1": 30.0}, "rsum": 250.0}


def entry(epoch: int, seconds: float = 60.0) -> EpochEntry:
    return EpochEntry("I", epoch, seconds, 120.4, 1e-3, {"loss": 1.25}, TABLE)


def test_epoch_line_shows_loss_recall_speed_and_remaining_time() -> None:
    line = "stage I, epoch 4/10: loss 1.250, dev rsum 250.0, image → text R@1 40.0, text → image R@1 30.0, 120 images/s"
    assert epoch_line(STAGE, entry(4), [60.0]) == f"{line}, stage ends in about 6 min"
    assert "ends" not in epoch_line(STAGE, entry(10), [60.0])


def test_remaining_time_is_not_estimated_from_compilation() -> None:
    assert "ends" not in epoch_line(STAGE, entry(1), [])
    assert "about 3 h" in epoch_line(STAGE, entry(1, seconds=1200.0), [])
    assert "about 8 min" in epoch_line(STAGE, entry(2, seconds=120.0), [60.0])  # the first epoch after a restart


def test_epoch_that_is_logged_again_replaces_its_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was killed after an epoch and before its checkpoint runs that epoch again."""
    writer = tf.summary.create_file_writer(str(tmp_path / "logs"))
    for epoch, seconds in ((1, 50.0), (2, 60.0), (2, 70.0), (3, 80.0)):
        log_epoch(tmp_path, writer, [], STAGE, entry(epoch, seconds))
    history = read_history(tmp_path)
    assert [(line["epoch"], line["seconds"]) for line in history] == [(1, 50.0), (2, 70.0), (3, 80.0)]
    assert history[0] == json.loads(json.dumps(entry(1, 50.0).to_json()))
    assert capsys.readouterr().out.count("stage I, epoch") == 4
