"""The benchmark of lessons: names and views that it draws, and its quick form."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import teach


def test_half_of_the_names_are_invented_words_and_a_quarter_known_ones() -> None:
    words = ["a", "dog", "house", "red"]
    drawn = teach.names(words, 8)
    known = [sum(word in words for word in name.split()) for name in drawn]
    assert known == [0, 0, 1, 2] * 2 and len(set(drawn)) == 8
    assert drawn == teach.names(words, 8), "the same at every run"


def test_what_is_to_be_found_differs_from_what_is_taught() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    taught, *others = teach.views(file.getvalue())
    assert Image.open(io.BytesIO(taught)).size == (52, 39)
    assert [Image.open(io.BytesIO(other)).size for other in others] == [(52, 39), (56, 42), (80, 60), (27, 21)]
    assert len({taught, *others}) == 5


@pytest.mark.benchmark
def test_quick_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert teach.main(["--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("teach: ")
