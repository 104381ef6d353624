"""The backbones benchmark in its quick form: one form of each kind, and every refusal."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks import backbones


@pytest.mark.benchmark
@pytest.mark.usefixtures("deterministic_ops_end")
@pytest.mark.skipif(importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed")
def test_quick(capsys):
    assert backbones.main(["--quick"]) == 0
    assert "4 of 4 forms pass, 11 of 11 wrong settings refused" in capsys.readouterr().out
