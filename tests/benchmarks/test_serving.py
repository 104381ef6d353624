"""The benchmarks of the local server run, and can fall short."""

from __future__ import annotations

import pytest

from benchmarks import hostile, hot_swap, serve_load
from benchmarks.hostile_requests import HEAVY, KINDS, drawn


@pytest.mark.parametrize("program", [serve_load, hot_swap, hostile])
def test_quick(program, capsys):
    assert program.main(["--quick"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith(program.__name__.split(".")[1] + ": ") and said[-1].endswith(" ok")


def test_a_slow_server_falls_short(monkeypatch, tmp_path, capsys):
    row = {
        "alone rate": [100.0],
        "alone p50": [0.010],
        "one p50": [0.013],
        "rate": [260.0],
        "tail": [2.0],
        "failed": [0.0],
    }
    for change, status in (
        ({}, 0),
        ({"rate": [240.0]}, 1),
        ({"tail": [3.5]}, 1),
        ({"one p50": [0.0145]}, 1),
        ({"failed": [1.0]}, 1),
    ):
        monkeypatch.setattr(serve_load, "measure", lambda *_, change=change: row | change)
        assert serve_load.main([str(tmp_path)]) == status
        assert capsys.readouterr().out.rstrip().endswith(["ok", "short"][status])


def test_every_kind_of_attack_is_sent():
    import random

    sent = drawn(random.Random(0), 2000)
    assert len(sent) == 2000 and set(sent) == set(KINDS) and set(HEAVY) < set(KINDS)
