"""The benchmark of worker processes in its quick form: two processes of this machine train together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.benchmark
def test_two_workers_train_as_one_and_one_continues_them():
    """In a process of its own: workers are forked from one that has not used TensorFlow."""
    command = [sys.executable, "-m", "benchmarks.workers", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert re.search(r"2 workers, sharded, until SIGTERM: \d+ steps", done.stdout)
    assert re.search(r"continued by 1: \d+ steps", done.stdout)
