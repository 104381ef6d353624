"""Training on two devices of one machine: losses and weights are those of one device with the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOLERANCE = 3e-5


@pytest.fixture(scope="module")
def measured():
    command = [sys.executable, "-m", "tests.support.two_devices"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_both_devices_are_used(measured):
    assert measured["replicas"] == 2


@pytest.mark.parametrize("case", ["full", "mined and sampled", "sharded"])
def test_losses_and_weights_are_those_of_one_device(measured, case):
    """ "full": dropout, pair losses, two captions an image, clipping and moving average as of the whole batch."""
    found = measured["found"][case]
    assert found["moved"] > 10 * TOLERANCE, "the training changes nothing"
    assert found["losses"] < TOLERANCE
    assert found["variables"] < TOLERANCE


@pytest.mark.parametrize("softmax", ["one", "two", "full"])
def test_a_sharded_classifier_is_continued_on_any_number_of_devices(measured, softmax):
    """By one device from two, by two from one, and with all classes on each device."""
    found = measured["found"][f"resumed on {softmax}"]
    assert found["losses"] < TOLERANCE and found["variables"] < TOLERANCE
