"""The benchmarks of many classes: no dense gradient in the measured step, and their quick forms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import class_scale, sampled_quality

ROOT = Path(__file__).parents[2]


def test_the_measured_step_has_no_dense_operation_when_classes_are_sampled() -> None:
    found = class_scale.measure([(500, 16, 50), (500, 16, 0)], steps=2)
    assert found["dense"][0] == 0 and found["dense"][1] > 2, "the full softmax makes a dense gradient"
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in found["seconds"])
    assert class_scale.ratio([[1.0, 3.0, 2.0], [2.0, 2.0, 2.0]]) == 1.0


@pytest.mark.benchmark
def test_class_scale_runs() -> None:
    """In a process of its own: workers are forked from one that has not used TensorFlow."""
    command = [sys.executable, "-m", "benchmarks.class_scale", "--quick", "--steps", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert ", 0 dense, sharded" in done.stdout
    assert "(bar 0.15 x, 1.3 x, 24 GiB, 0, 1e-05 with 1/2) ok" in done.stdout


@pytest.mark.benchmark
def test_sampled_quality_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert sampled_quality.main(["--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("sampled_quality: ")
