"""Every reader reports every invalid input with a clear error, and the benchmark detects errors that are not clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bad_data
from benchmarks.breaking import Break, nothing
from benchmarks.broken_inputs import breaks
from benchmarks.miniatures import MINIATURES
from itembed_tf.data.readers import DATASETS, folder


@pytest.mark.slow
def test_all_readers_report_invalid_input_and_the_training_program_each_kind_of_it(
    capsys: pytest.CaptureFixture[str], deterministic_ops_end: None
) -> None:
    assert bad_data.main(["--quick"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("bad_data: 0 bad errors (bar 0) ok")


def test_every_reader_is_tested_with_at_least_20_kinds() -> None:
    assert {copy.dataset for copy in MINIATURES.values()} == set(DATASETS) - {"openmoji"}
    for copy in MINIATURES.values():
        kinds = [case.kind for case in breaks(copy)]
        assert len(set(kinds)) == len(kinds) >= 20


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "captions.csv must be UTF-8"), "is a UnicodeDecodeError"),
        (KeyError("captions.csv must"), "is a KeyError"),
        (ValueError("a line must not be empty"), "does not have captions.csv"),
        (ValueError("captions.csv is bad"), "does not say what to do"),
        (ValueError("captions.csv must not hold \x1b[31m"), "has the unprintable '\\x1b'"),
        (ValueError("captions.csv must be shorter " * 1000), "has 29,000 characters"),
        (None, "is no error"),
    ],
)
def test_benchmark_detects_bad_errors(
    error: Exception | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = MINIATURES["folder, csv"]
    copy.write(tmp_path)
    read = folder.read

    def reader(**settings: object) -> list:
        if error:
            raise error
        return read(**settings)  # type: ignore[arg-type]

    monkeypatch.setitem(DATASETS, "folder", reader)
    problems, _ = bad_data.reader_problems(copy, Break("any", nothing, "captions.csv"), tmp_path, [])
    assert problems == [problem]


def test_training_program_must_print_the_same_error(tmp_path: Path) -> None:
    copy, case = MINIATURES["folder, csv"], Break("any", nothing, "captions.csv")

    def program(argv: object) -> int:
        (Path(argv[1]) / "weights").mkdir(parents=True)  # type: ignore[index]
        (Path(argv[1]) / "weights" / "half").touch()  # type: ignore[index]
        return 0

    def failing(argv: object) -> int:
        raise TypeError

    assert bad_data.program_problems(program, copy, case, tmp_path, "captions.csv must be there") == [
        "makes the training program exit with 0",
        "differs from that of the training program",
        "leaves ['weights/half']",
    ]
    assert bad_data.program_problems(failing, copy, case, tmp_path, "") == [
        "makes the training program raise TypeError"
    ]
