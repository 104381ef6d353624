"""Leave-one-out weights, by hand: sums of unit vectors in place of a text encoder."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.demo.word_changes import MAX_WORDS, split_words, word_changes
from tests.support.search_page import SumOfWords, vector_of


def embed(texts: list[str]) -> np.ndarray:
    return SumOfWords().embed(texts).vectors


def test_the_change_of_each_word_is_that_of_the_cosine_without_it() -> None:
    changes = word_changes("Red ring, xyz", vector_of("red"), embed)
    assert changes.score == pytest.approx(0.5**0.5)
    assert [word.text for word in changes.words] == ["Red", "ring,", "xyz"]
    # without "red" nothing of the vector is left, without "ring" all of it, and an unknown word changes nothing
    assert [word.change for word in changes.words] == pytest.approx([-(0.5**0.5), 1 - 0.5**0.5, 0.0], abs=1e-6)


def test_one_word_has_no_change_and_a_long_text_has_bounded_work() -> None:
    assert word_changes("red", vector_of("red"), embed).words[0].change is None
    calls: list[int] = []

    def counted(texts: list[str]) -> np.ndarray:
        calls.append(len(texts))
        return embed(texts)

    words = word_changes("red " * 200, vector_of("red"), counted).words
    assert calls == [MAX_WORDS + 1] and len(words) == 200 and words[-1].change is None


@pytest.mark.parametrize("text", ["a  red\tring", "一只黑狗 runs", "ありがとう、犬", "", "   "])
def test_words_joined_again_are_the_text(text: str) -> None:
    words = split_words(text)
    assert "".join(f" {word}" if spaced else word for word, spaced in words) == " ".join(text.split())


def test_scripts_without_spaces_are_split_by_character() -> None:
    assert [word for word, _ in split_words("黑狗 runs")] == ["黑", "狗", "runs"]
