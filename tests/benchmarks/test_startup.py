"""The benchmarks of the command line: startup times, and hiding the modules of an extra from the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import startup, wheel
from itembed_tf.extras import FEATURES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_startup_measures_every_command(capsys):
    assert startup.main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(startup.COMMANDS) == 11 and sum(" itembed " in line for line in lines) == 11
    assert lines[-1].startswith("startup: ") and lines[-1].endswith(", 11 right (bar 3 x, 11) ok")


def test_every_extra_of_a_command_is_hidden_once():
    assert set(wheel.WITHOUT) == {feature.extra for feature in FEATURES.values()} - {"heif"}
    for extra, (modules, _) in wheel.WITHOUT.items():
        assert any(set(modules.split(",")) == set(feature.modules) for feature in FEATURES.values()), extra


# coco needs a finished run, milvus and ray an index
@pytest.mark.parametrize("extra", sorted(set(wheel.WITHOUT) - {"coco", "milvus", "ray"}))
def test_missing_extra_is_explained(extra, tmp_path):
    program = tmp_path / "itembed"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{ROOT}" exec {sys.executable} -m itembed_tf "$@"\n')
    program.chmod(0o755)
    (tmp_path / "images").mkdir()
    place = wheel.Place(tmp_path, tmp_path)
    wheel.step_without(place, extra)
    with pytest.raises(wheel.Failed, match="ended with"):
        place.itembed("--help", code=1)
