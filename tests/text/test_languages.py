"""Which tokenizer and which word vectors suit the language of captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.language_captions import LANGUAGES, captions
from itembed_tf.config import Config, load_config
from itembed_tf.text import build_vocabulary, tokenize, tokenize_captions
from itembed_tf.text.languages import choose_tokenizer, language, letters
from itembed_tf.text.word_table import training_vocabulary, with_tokenizer

CHECKSUM = "22507d5ffe0f3e19a743207bd956a29715773e5ee12969dc23499b62ed7c57de"
CODES = dict(zip(LANGUAGES, ["en", "de", "fr", "es", "cs", "vi", "ru", "ar", "ko", "zh", "ja", "th"]))


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_tokenizer_and_the_word_vectors_of_a_language(name: str) -> None:
    texts = captions(name)
    assert choose_tokenizer(texts)[0] == ("words" if name == "English" else "unicode")
    for tokenizer in ("words", "unicode"):
        found = language(tokenize_captions(texts, tokenizer=tokenizer, lowercase=True))
        if tokenizer == "unicode" or name not in ("Chinese", "Japanese", "Thai"):
            assert found is not None and found[0] == CODES[name]


def test_english_with_a_few_accents_symbols_and_emoji_is_english() -> None:
    plain = [caption for caption in captions("English") if caption.isascii()]
    texts = [*plain, "crème brûlée at the café", "It’s “fun” — 20 °C ½ ❤️ 👩🏽‍🚀"]
    assert letters(texts).other == 3
    assert choose_tokenizer(texts)[0] == "words"


@pytest.mark.parametrize("name", ["Japanese", "Thai", "German"])
def test_a_few_captions_of_another_language_among_english_ones_decide(name: str) -> None:
    mixed = [*captions("English") * 3, *captions(name, 30)]
    tokenizer, reason = choose_tokenizer(mixed)
    assert tokenizer == "unicode"
    assert "% of the words in the training captions have other letters than a-z" in reason
    words = tokenize_captions(mixed, tokenizer=tokenizer, lowercase=True)
    assert min(map(len, words)) > 2


def test_captions_without_words_and_without_a_language() -> None:
    assert choose_tokenizer(["", "...", "❤️"])[0] == "words"
    assert choose_tokenizer([])[0] == "words"
    assert language([["dog", "cat"], ["bike"]]) is None


def test_english_runs_keep_their_vocabulary_and_its_checksum() -> None:
    """The checksum is part of the contract hash; this one was computed before "auto" became the default."""
    texts = captions("English")
    config, line = with_tokenizer(Config(), texts)
    assert config.text.tokenizer == "words"
    assert line.startswith('tokenizer: "words", as 0.')
    words = tokenize_captions(texts, tokenizer="words", lowercase=True)
    vocabulary = training_vocabulary(
        replace(config, word_vectors=load_config(None, ["word_vectors.source=random"]).word_vectors), words
    )
    assert vocabulary.checksum() == CHECKSUM
    settings = {"length": 32, "min_count": 1, "only_with_vectors": False}
    assert build_vocabulary(words, tokenizer="words", lowercase=True, **settings).checksum() == CHECKSUM


def test_a_tokenizer_that_the_config_names_is_kept(tmp_path: Path) -> None:
    config = load_config(None, ["text.tokenizer=words"])
    assert with_tokenizer(config, captions("Japanese")) == (config, "")


def test_accents_that_carry_meaning_are_kept() -> None:
    pairs = [("schon", "schön"), ("pêche", "péché"), ("año", "ano"), ("ma", "mạ"), ("dal", "dál")]
    for one, other in pairs:
        assert tokenize(one, tokenizer="unicode", lowercase=True) != tokenize(
            other, tokenizer="unicode", lowercase=True
        )
        assert tokenize(one, tokenizer="words", lowercase=True) == tokenize(other, tokenizer="words", lowercase=True)
