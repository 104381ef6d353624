"""The benchmark runner sums time over interruptions, filters logs and never reports a failed run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import runner
from benchmarks.small_data import CONFIG, ROWS
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k
from itembed_tf.config import arguments, load_config
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import read_dataset

BARS = r"""
import sys, time
for state in ("  0%|    | 0/2 [00:00<?, ? images/s]", " 50%|##  | 1/2 [00:01<00:01,  1.0 images/s]"):
    print("\rfrozen backbone, view 1 of 2: " + state, end="", file=sys.stderr, flush=True); time.sleep(0.3)
print("\nI0000 00:00:17 port.cc:153] noise", file=sys.stderr)
print("stage I epoch 1: loss 1.0 (5 images/s)")
"""


def follow(run: Path, code: str) -> None:
    program = run.with_name("program.py")
    program.write_text(code, encoding="utf-8")
    runner.follow([sys.executable, str(program)], run)


def test_log_without_progress_bars_and_feature_seconds(tmp_path, capsys):
    follow(tmp_path / "run", BARS)
    output = capsys.readouterr().out
    assert "stage I epoch 1: loss 1.0 (5 images/s)\n" in output
    assert "frozen backbone" not in output and "noise" not in output
    spent = runner.times(tmp_path / "run")
    assert 0.2 < spent["features"] < spent["seconds"]


def test_seconds_are_summed_over_attempts_and_failure_stops(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(SystemExit, match="exit code 3"):
        follow(run, "import sys, time; time.sleep(0.3); sys.exit(3)")
    first = runner.times(run)["seconds"]
    follow(run, "import time; time.sleep(0.3)")
    assert first >= 0.3 and runner.times(run)["seconds"] >= first + 0.3


def test_finished_run_is_skipped(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"finished": True}))
    follow(tmp_path, "raise SystemExit('must not run')")
    assert runner.times(tmp_path)["seconds"] == 0


def test_verdict_line(capsys):
    assert (runner.verdict("loss", "3 ms", "2", False), runner.verdict("loss", "1 ms", "2", True)) == (1, 0)
    assert capsys.readouterr().out == "loss: 3 ms (bar 2) short\nloss: 1 ms (bar 2) ok\n"


@pytest.mark.filterwarnings("ignore:.*not the official list")
def test_generated_images_are_read_as_flickr8k(tmp_path):
    root = write_tiny_flickr8k(tmp_path)
    groups = read_dataset(**arguments(Dataset(name="flickr8k", root=root, splits=("train", "dev"))))
    assert [sum(group.split == split for group in groups) for split in ("train", "dev")] == [24, 8]
    assert all(len(group.captions) == 2 and Path(group.images[0]).is_file() for group in groups)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_small_data_differs_from_the_default_and_loads(row):
    config = load_config(CONFIG, [*ROWS[row], *SMALL])
    assert (config == load_config(CONFIG, SMALL)) == (row == "default")


@pytest.mark.parametrize(
    ("ours", "first", "paper", "expected"),
    [
        ([20.0, 21.0, 22.0], [30.0, 30.0, 30.0], -5.0, "-9.0 ± 2.5; paper -5.0: agrees"),  # 4.30 x 1 / sqrt(3)
        ([20.0, 21.0, 22.0], [30.0, 30.0, 30.0], 5.0, "-9.0 ± 2.5; paper +5.0: disagrees"),
        ([31.0, 32.0, 33.0], [30.0, 30.0, 30.0], 5.0, "+2.0 ± 2.5; paper +5.0: undecided"),
        ([31.0], [30.0], 5.0, "+1.0, one seed; paper +5.0"),
    ],
)
def test_direction_is_stated_only_if_the_interval_excludes_zero(ours, first, paper, expected):
    assert runner.compare_with_paper(ours, first, f"{paper:+.1f}", paper > 0) == expected
