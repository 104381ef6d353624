"""Progress lines on standard error."""

from __future__ import annotations

import time

import pytest
from tqdm import tqdm

from itembed_tf import progress
from itembed_tf.progress import Steps, clock, rounded_duration, running_clock


def test_each_step_prints_its_number_the_time_so_far_and_the_time_left(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    steps = Steps(["read", "train", "export"], weights=[1, 4, 2])
    steps.start("read")
    now[0] += 60
    steps.start("train")
    now[0] += 300
    steps.start("export")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "[1/3] read",
        "[2/3] train   (1:00 elapsed, about 6 min left)",
        "[3/3] export   (6:00 elapsed, about 2 min left)",
    ]


def test_a_step_left_out_takes_no_part_in_the_estimate(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    steps = Steps(["read", "pack", "export"], weights=[1, 100, 2])
    steps.start("read")
    now[0] += 30
    steps.start("export")
    assert capsys.readouterr().err.splitlines()[-1] == "[3/3] export   (0:30 elapsed, about 1 min left)"


def test_without_weights_there_is_no_estimate_but_a_known_time_is_shown(capsys):
    steps = Steps(["read", "train"])
    steps.start("read")
    steps.start("train", seconds_left=7300)
    assert capsys.readouterr().err.splitlines() == ["[1/2] read", "[2/2] train   (0:00 elapsed, about 2 h left)"]


def test_wrong_titles_and_weights_are_refused():
    with pytest.raises(ValueError, match=r"no step 'serve'; the steps are: read, train"):
        Steps(["read", "train"]).start("serve")
    with pytest.raises(ValueError, match="1 weights for 2 steps"):
        Steps(["read", "train"], weights=[1])


@pytest.mark.parametrize(
    ("seconds", "exact", "rounded"),
    [
        (0, "0:00", "5 s"),
        (42, "0:42", "40 s"),
        (72, "1:12", "1 min"),
        (7272, "2:01:12", "2 h"),
        (8000, "2:13:20", "2 h 10 min"),
    ],
)
def test_durations(seconds, exact, rounded):
    assert clock(seconds) == exact
    assert rounded_duration(seconds) == rounded


def test_a_running_clock_is_shown_during_long_work_only(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FILE_SECONDS", 0.02)
    with running_clock("compiling"):
        time.sleep(0.1)
    assert capsys.readouterr().err.splitlines()[0] == "  compiling: 0:00"
    monkeypatch.setattr(progress, "FILE_SECONDS", 5)
    with pytest.raises(ZeroDivisionError), running_clock("compiling"):
        _ = 1 / 0
    assert capsys.readouterr().err == ""


def test_a_running_clock_pauses_while_a_progress_bar_is_open(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FILE_SECONDS", 0.02)
    with running_clock("reading"), tqdm(total=2, desc="rendering", mininterval=10):
        time.sleep(0.1)
    printed = capsys.readouterr().err
    assert "rendering" in printed and "reading" not in printed
