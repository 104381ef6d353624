"""The train_speed benchmark in its quick form: a small CNN's features by both engines."""

from __future__ import annotations

import pytest

from benchmarks import train_speed


@pytest.mark.benchmark
@pytest.mark.usefixtures("deterministic_ops_end")
def test_quick(capsys):
    assert train_speed.main(["--quick"]) == 0
    assert "train_speed: features" in capsys.readouterr().out
