"""The levers benchmark in its quick form: small ensembles, joined anew."""

from __future__ import annotations

import pytest

from benchmarks import levers


@pytest.mark.benchmark
@pytest.mark.usefixtures("deterministic_ops_end")
def test_quick(capsys):
    assert levers.main(["--quick"]) == 0
    assert f"levers: {len(levers.LEVERS)} levers over 2 seeds" in capsys.readouterr().out
