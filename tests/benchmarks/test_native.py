"""SavedModels in TensorFlow's C API, without Python packages in the process, answer as in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import native
from benchmarks.served import toy_export


@pytest.mark.slow
def test_every_warm_up_record_has_the_answer_of_python(small_export: Path) -> None:
    """Image files, strings and ids, in batches of 1 to 32, through the C++ loader that TF Serving uses."""
    images, texts = native.measure(small_export)
    assert (images.records, images.items) == (6, 63) and (texts.records, texts.items) == (12, 126)
    assert native.judge([images, texts]) == 0


@pytest.mark.slow
def test_the_unicode_tokenizer_needs_no_python(tmp_path: Path) -> None:
    (texts,) = native.measure(toy_export(tmp_path, tokenizer="unicode", features=4), ["text_encoder"])
    assert texts.records == 4 and texts.worst <= 1e-5


@pytest.mark.slow
def test_other_weights_are_noticed(toy_exports, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [toy_exports.folder(number) / "text_encoder" / str(number) for number in (1, 2)]
    figure = native._compare("text_encoder", native.natively(folders[0], []), native.in_python(folders[1]))
    assert figure.records == 4 and figure.worst > 1e-3
    assert native.judge([figure]) == 1 and native.judge([]) == 1
    assert capsys.readouterr().out.splitlines()[0].endswith("4 warm-up records (bar 1e-05) short")


def test_a_folder_that_is_no_saved_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"C API failed \(exit code 1\).*Could not find SavedModel"):
        native.natively(tmp_path, [])
