"""The log of a finished epoch, on the screen and in history.jsonl."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from itembed_tf.config import Stage
from itembed_tf.training import epoch_log
from itembed_tf.training.epoch_log import log_epoch, read_history
from itembed_tf.training.errors import RunError
from itembed_tf.training.state import EpochEntry

STAGE = Stage(name="I", epochs=10)
TABLE: dict[str, Any] = {"image_query": {"R@1": 40.0}, "text_query": {"R@1": 30.0}, "rsum": 250.0}


def entry(epoch: int, seconds: float = 60.0) -> EpochEntry:
    return EpochEntry("I", epoch, seconds, 120.4, 1e-3, {"loss": 1.25}, TABLE)


def epoch_line(at: EpochEntry, before: list[float]) -> str:
    """The line where everything after the stage takes two epochs and a minute."""
    return epoch_log.epoch_line(STAGE, at, before, lambda epoch: 2 * epoch + 60.0)


def test_epoch_line_shows_loss_recall_speed_and_remaining_time() -> None:
    line = "stage I, epoch 4/10: loss 1.250, dev rsum 250.0, image → text R@1 40.0, text → image R@1 30.0, 120 images/s"
    assert epoch_line(entry(4), [60.0]) == f"{line}, stage ends in about 6 min, run ends in about 9 min"
    last = epoch_line(entry(10), [60.0])
    assert "stage ends" not in last and last.endswith("run ends in about 3 min")


def test_a_small_gallery_shows_its_chance_level() -> None:
    def line(*recalls: float) -> str:
        chance = dict(zip(("R@1", "R@5", "R@10"), recalls))
        table = {**TABLE, "chance": {"image_query": chance, "text_query": chance}}
        return epoch_line(replace(entry(4), val=table), [60.0])

    assert "dev rsum 250.0 (chance 281), " in line(10.0, 43.5, 87.0)
    assert "dev rsum 250.0, " in line(0.1, 0.5, 1.0)


def test_remaining_time_is_not_estimated_from_compilation() -> None:
    assert "ends" not in epoch_line(entry(1), [])
    assert "stage ends in about 3 h" in epoch_line(entry(1, seconds=1200.0), [])
    assert "stage ends in about 8 min" in epoch_line(entry(2, seconds=120.0), [60.0])  # the first after a restart


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(json.dumps(entry(1).to_json()) + '\n{"stage": "I", "ep')
    with pytest.raises(RunError, match=r"history.jsonl is damaged in line 2 .* remove that line"):
        read_history(tmp_path)


def test_epoch_that_is_logged_again_replaces_its_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was killed after an epoch and before its checkpoint runs that epoch again."""
    for epoch, seconds in ((1, 50.0), (2, 60.0), (2, 70.0), (3, 80.0)):
        log_epoch(tmp_path, [], [], STAGE, float, entry(epoch, seconds))
    history = read_history(tmp_path)
    assert [(line["epoch"], line["seconds"]) for line in history] == [(1, 50.0), (2, 70.0), (3, 80.0)]
    assert history[0] == json.loads(json.dumps(entry(1, 50.0).to_json()))
    assert capsys.readouterr().out.count("stage I, epoch") == 4
