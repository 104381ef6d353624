"""The benchmarks of faults and of plans: their quick forms, and that the first notices what it looks for."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import faults, plan_check
from benchmarks.injected import FAULTS, Fault, Progress
from benchmarks.observed_encoding import encoding_problems
from benchmarks.tiny_runs import Ended, Place


@pytest.mark.benchmark
def test_faults_are_continued_or_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, deterministic_ops_end: None
) -> None:
    monkeypatch.setenv("ITEMBED_CACHE", "")  # restored afterwards: the benchmark sets it
    assert faults.main(["--quick"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("faults: 7 of 7 faults (bar 7) ok")


@pytest.mark.benchmark
def test_plan_check_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_check.main(["--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("plan_check: ")


@pytest.mark.parametrize(
    ("ended", "problems"),
    [
        ((1, "error: no space; free some space on that disk\n"), ["does not say what to do"]),
        ((1, "error: no space; free some space on that disk, and give the same command again\n"), []),
        ((0, ""), []),
        ((137, ""), ["exits with 137, not 0 or 1", "does not say 'free some space'"]),
        ((1, "Traceback (most recent call last)\n"), None),
    ],
)
def test_bad_ends_are_noticed(ended: Ended, problems: list[str] | None) -> None:
    fault = next(fault for fault in FAULTS if fault.name == "a full disk")
    found = faults.refusal_problems(fault, Place(Path("a")), ended)
    assert found == problems if problems is not None else len(found) > 1


@pytest.mark.parametrize(
    ("output", "kept", "lost"),
    [
        ("continues stage I at epoch 2, step 3", Progress(1, 2), False),
        ("continues stage I at epoch 2, step 2", Progress(1, 2), True),
        ("continues stage I at epoch 1, step 9", Progress(1, 0), True),
        ("", Progress(1, 0), True),
        ("", Progress(-1, 0), False),
    ],
)
def test_lost_work_is_noticed(output: str, kept: Progress, lost: bool) -> None:
    assert bool(faults.continued_at(output, kept)) == lost


def test_a_fault_is_one_function_in_a_list() -> None:
    @contextlib.contextmanager
    def injected(place: Place, draw: random.Random) -> Iterator[Ended]:
        yield 0, ""

    assert Fault("another", injected).codes == (1,)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 10


@pytest.mark.parametrize(
    ("lines", "finished", "problems"),
    [
        (["a.npy 0 4", "a.npy 4 8", "b.npy 0 4"], ["a.npy"], 0),
        (["a.npy 0 4", "a.npy 4 8", "a.npy 4 8", "b.npy 0 4"], [], 0),  # it was under way
        (["a.npy 0 4", "a.npy 4 8", "a.npy 0 4", "a.npy 4 8"], [], 1),
        (["a.npy 0 4", "b.npy 0 4", "a.npy 0 4"], ["a.npy"], 1),
    ],
)
def test_features_that_are_computed_twice_are_noticed(
    tmp_path: Path, lines: list[str], finished: list[str], problems: int
) -> None:
    log = tmp_path / "computed.txt"
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert len(encoding_problems(log, finished)) == problems
