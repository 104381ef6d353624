"""The benchmark of disturbed runs: a handful of its disturbances, and that it notices what it looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import disturbed
from benchmarks.disturbances import DISTURBANCES, Disturbance
from benchmarks.disturbing import nothing, then
from benchmarks.tiny_runs import Place


@pytest.mark.benchmark
def test_disturbed_runs_are_continued_right_or_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    deterministic_ops_end: None,
    shallow_backbone: None,
) -> None:
    monkeypatch.setenv("ITEMBED_CACHE", "")  # restored afterwards: the benchmark sets it
    assert disturbed.main(["--quick"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("disturbed: 6 of 6 disturbances (bar 6) ok")


def test_there_are_at_least_forty_disturbances_with_different_names() -> None:
    names = {case.name for case in DISTURBANCES}
    assert len(names) == len(DISTURBANCES) >= 40 and set(disturbed.QUICK) <= names


@pytest.mark.parametrize(
    ("code", "output", "problems"),
    [
        (1, "error: a/data is in use; give another one\n", []),
        (1, "error: a/data is locked\n", ["does not say what to do"]),
        (0, "error: a/data is in use; give another one\n", ["exits with 0"]),
        (1, "Traceback (most recent call last)\n", None),
        (1, "error: {{function_node x}} a/data; give another\n", ["prints '{{function_node'"]),
        (1, "error: something else; give another\n", ["does not say '{place.data}'"]),
    ],
)
def test_the_benchmark_notices_bad_refusals(code: int, output: str, problems: list[str] | None) -> None:
    case = Disturbance("1", "any", then(nothing), says=("{place.data}",))
    found = disturbed.problems(case, Place(Path("a")), code, output, {})
    assert found == problems if problems is not None else found
