"""Every reader answers every broken input with a clear error; and the program that says so can say otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bad_data
from benchmarks.breaking import Break, nothing
from benchmarks.broken_inputs import breaks
from benchmarks.miniatures import MINIATURES
from itembed_tf.data.readers import DATASETS, folder


def test_no_reader_gives_a_bad_answer_nor_does_the_training_program(
    capsys: pytest.CaptureFixture[str], deterministic_ops_end: None
) -> None:
    assert bad_data.main([]) == 0
    said = capsys.readouterr().out
    assert said.rstrip().endswith("bad_data: 0 bad answers (bar 0) ok")


def test_every_reader_of_files_is_fed_thirty_kinds_and_more() -> None:
    assert {copy.dataset for copy in MINIATURES.values()} == set(DATASETS) - {"openmoji"}
    for copy in MINIATURES.values():
        kinds = [case.kind for case in breaks(copy)]
        assert len(set(kinds)) == len(kinds) >= 30


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "captions.csv must be UTF-8"), "is a UnicodeDecodeError"),
        (KeyError("captions.csv must"), "is a KeyError"),
        (ValueError("a line must not be empty"), "does not name captions.csv"),
        (ValueError("captions.csv is bad"), "does not say what to do"),
        (ValueError("captions.csv must not hold \x1b[31m"), "holds the unprintable '\\x1b'"),
        (ValueError("captions.csv must be shorter " * 1000), "is 29,000 letters long"),
        (None, "is no error"),
    ],
)
def test_a_bad_answer_is_called_one(
    error: Exception | None, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = MINIATURES["folder, csv"]
    copy.write(tmp_path)
    plain = folder.read

    def reader(**settings: object) -> list:
        if error:
            raise error
        return plain(**settings)  # type: ignore[arg-type]

    monkeypatch.setitem(DATASETS, "folder", reader)
    faults, _ = bad_data.faults_of_reader(copy, Break("any", nothing, "captions.csv"), tmp_path, [])
    assert faults == [fault]


def test_the_training_program_must_end_with_that_very_error(tmp_path: Path) -> None:
    copy, case = MINIATURES["folder, csv"], Break("any", nothing, "captions.csv")

    def program(argv: object) -> int:
        (Path(argv[1]) / "weights").mkdir(parents=True)  # type: ignore[index]
        (Path(argv[1]) / "weights" / "half").touch()  # type: ignore[index]
        return 0

    def bare(argv: object) -> int:
        raise TypeError

    assert bad_data.faults_of_program(program, copy, case, tmp_path, "captions.csv must be there") == [
        "lets the training program end with 0",
        "is not what the training program prints",
        "leaves ['weights/half']",
    ]
    assert bad_data.faults_of_program(bare, copy, case, tmp_path, "") == [
        "ends the training program with a bare TypeError"
    ]
