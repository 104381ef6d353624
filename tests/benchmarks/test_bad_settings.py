"""The benchmark of wrong settings: all sections are covered, and an accepted setting counts as a fault."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.bad_settings import WRONG, Wrong, faults, main, quick, refusals
from itembed_tf.config import Config


def test_settings_cover_every_section():
    assert len(WRONG) == len(set(WRONG)) == 60
    sections = {f.name for f in dataclasses.fields(Config)}
    assert sections <= {wrong.setting.partition("=")[0].split(".")[0] for wrong in WRONG}
    assert {wrong.setting.partition("=")[0].split(".")[0] for wrong in quick()} >= sections


def test_all_are_refused_before_anything_heavy_is_imported(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.endswith("bad_settings: 60 of 60 refused (bar 60) ok\n")


def test_accepted_setting_is_a_fault(tmp_path: Path):
    accepted = Wrong("data.captions=2", "2", "1 to 1")
    [(code, text)], modules = refusals([Wrong("model.dropout=1.5", "1.5", "< 1")], tmp_path / "run")
    assert not faults(Wrong("model.dropout=1.5", "1.5", "< 1"), code, text) and not modules
    assert len(faults(accepted, 0, "")) == 5


def test_refusal_must_name_key_value_and_allowed_range():
    wrong = Wrong("image.size=16", "16", "32 to 2048")
    assert faults(wrong, 2, "error: image.size = 16: must be 32 to 2048\n") == []
    assert faults(wrong, 2, "error: image.size = 16: too small\n") == ["does not name what is allowed: 32 to 2048"]
    assert faults(wrong, 1, "error: image.size = 16: must be 32 to 2048\n") == ["ends with 1"]
    assert faults(wrong, 2, "Traceback\nerror: image.size = 16: must be 32 to 2048\n") == ["is not one error line"]
