"""A training whose captions would be spoilt in silence warns, and says what to do."""

from __future__ import annotations

import pytest

from benchmarks.language_captions import captions
from itembed_tf.config import load_config
from itembed_tf.text import tokenize_captions
from itembed_tf.text.caption_warnings import caption_warnings
from itembed_tf.text.word_table import training_vocabulary


def warnings_of(texts: list[str], *settings: str, coverage: float | None = None) -> list[str]:
    config = load_config(None, ["text.tokenizer=words", *settings])
    words = tokenize_captions(texts, tokenizer=config.text.tokenizer, lowercase=True)
    return caption_warnings(config, words, training_vocabulary(config, words), coverage)


def test_english_captions_and_labels_of_one_word_are_fine() -> None:
    assert warnings_of(captions("English"), coverage=0.97) == []
    assert warnings_of(["dog", "cat", "bicycle", "a red bicycle"], coverage=1.0) == []


@pytest.mark.parametrize("name", ["Chinese", "Japanese", "Thai"])
def test_captions_of_one_word(name: str) -> None:
    (warning,) = warnings_of(captions(name))
    assert "% of the training captions are one long word each, such as " in warning
    assert 'set text.tokenizer = "auto"' in warning


def test_short_captions_of_one_word() -> None:
    assert "'一只狗在跑'" in warnings_of(["一只狗在跑"] * 3)[0]
    assert warnings_of(["苹果", "自行车", "Fahrradhelm"]) == [], "labels"


def test_captions_of_one_word_where_no_tokenizer_helps() -> None:
    (warning,) = warnings_of(["ⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽ"] * 3, "text.tokenizer=unicode")
    assert "put spaces between the words" in warning


def test_truncated_captions_name_the_length_to_set() -> None:
    texts = ["one two three four five six"] * 3 + ["one two"] * 7
    (warning,) = warnings_of(texts, "text.length=4")
    assert "30 % of the training captions have more than text.length = 4 known words" in warning
    assert "with text.length = 6, 99 % of the captions are read whole" in warning
    assert warnings_of(texts, "text.length=6") == []


def test_english_vectors_for_another_language_name_the_file_to_use() -> None:
    (warning,) = warnings_of(captions("German"), coverage=0.6)
    assert "glove-50 is English; it has 60 % of the words" in warning
    assert "fastText's cc.de.300.vec.gz" in warning
    assert 'word_vectors.source = "word2vec", word_vectors.path = "cc.de.300.vec.gz"' in warning
    assert "docs/languages.md" in warning


def test_vectors_that_lack_half_of_the_words(tmp_path) -> None:
    file = tmp_path / "vectors.vec"
    settings = ["word_vectors.source=word2vec", f'word_vectors.path="{file}"']
    (warning,) = warnings_of(captions("Czech"), *settings, coverage=0.49)
    assert f"word2vec ({file}); it has 49 % of the words" in warning
    assert "cc.cs.300.vec.gz" in warning
    assert "text.lowercase" in warning
    assert warnings_of(captions("Czech"), *settings, coverage=0.51) == []
    (warning,) = warnings_of(["qwx zyx", "vvk"], coverage=0.0)
    assert "cc.XX.300.vec.gz" in warning
