"""The benchmarks of the local server run, and report a missed bar."""

from __future__ import annotations

import random

import pytest

from benchmarks import hostile, hot_swap, serve_load, served_search
from benchmarks.hostile_requests import HEAVY, KINDS, draw_kinds


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("program", "options"), [(serve_load, []), (hot_swap, []), (hot_swap, ["--workers", "2"]), (hostile, [])]
)
def test_quick(program, options, capsys, toy_exports, monkeypatch):
    def copy_export(out, seed=0):
        return toy_exports.copy(out, seed + 1)

    monkeypatch.setattr(program, "toy_export", copy_export)
    assert program.main(["--quick", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(program.__name__.split(".")[1] + ": ") and lines[-1].endswith(" ok")


@pytest.mark.benchmark
def test_the_served_search_finds_what_the_library_finds(capsys):
    assert served_search.main(["--quick"]) == 0
    assert "0 of 200 queries differ" in capsys.readouterr().out.splitlines()[-1]


def test_every_bar_of_serve_load(monkeypatch, tmp_path, capsys):
    row = {"tensorflow rate": [100.0], "litert rate": [260.0], "litert tail": [2.0], "failed": [0.0]}
    for change, status in (
        ({}, 0),
        ({"litert rate": [240.0]}, 1),
        ({"litert tail": [3.5]}, 1),
        ({"failed": [1.0]}, 1),
    ):
        monkeypatch.setattr(serve_load, "measure", lambda *_, change=change: row | change)
        assert serve_load.main([str(tmp_path)]) == status
        assert capsys.readouterr().out.rstrip().endswith(["ok", "short"][status])


def test_every_kind_of_attack_is_sent():
    sent = draw_kinds(random.Random(0), 2000)
    assert len(sent) == 2000 and set(sent) == set(KINDS) and set(HEAVY) < set(KINDS)
