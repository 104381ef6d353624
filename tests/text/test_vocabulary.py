"""Tokenizers in every script, vocabulary building, and vocabulary files."""

from __future__ import annotations

import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.text import MAX_BYTES, Vocabulary, build_vocabulary, load_vocabulary, tokenize, tokenize_captions
from tests.support.golden_sentences import generated, golden

SETTINGS = {"tokenizer": "words", "lowercase": True, "length": 4}


def test_the_text_package_does_not_import_tensorflow() -> None:
    code = "import sys, itembed_tf.text.vocabulary, itembed_tf.text.word_vectors; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("tokenizer", ["words", "unicode"])
def test_golden_texts(tokenizer: str) -> None:
    sentences = golden(tokenizer)
    words = {name: tokenize(sentence, tokenizer=tokenizer, lowercase=True) for name, sentence, _ in sentences}
    assert words == {name: expected for name, _, expected in sentences}
    assert len(words) >= 50


@pytest.mark.parametrize("tokenizer", ["words", "unicode"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_composed_and_decomposed_letters_are_one_word(tokenizer: str, lowercase: bool) -> None:
    composed = " ".join(c for c in map(chr, range(0x110000)) if _base_and_accents(c))
    decomposed = unicodedata.normalize("NFD", composed)
    words = tokenize(composed, tokenizer=tokenizer, lowercase=lowercase)
    assert words == tokenize(decomposed, tokenizer=tokenizer, lowercase=lowercase)
    assert len(words) == len(composed.split(" ")) > 700


def _base_and_accents(character: str) -> bool:
    base, *accents = list(unicodedata.normalize("NFD", character))
    return unicodedata.category(base)[0] == "L" and bool(accents) and all("\u0300" <= a <= "\u036f" for a in accents)


def test_case_is_kept_without_lowercase() -> None:
    assert tokenize("The CAFÉ on Main St", tokenizer="words", lowercase=False) == ["The", "CAFE", "on", "Main", "St"]
    assert tokenize("The CAFÉ on Main St", tokenizer="unicode", lowercase=False) == ["The", "CAFÉ", "on", "Main", "St"]


@pytest.mark.parametrize("tokenizer", ["words", "unicode"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_words_are_stable_under_tokenisation(tokenizer: str, lowercase: bool) -> None:
    odd = ["J\u030c", "\u210c\u0331", "e\u20dd\u0301", "\u1100\u200d\u1161"]  # they compose only during normalisation
    sentences = [*odd, *generated(3_000, seed=2), *(f"{chr(c)}\u0301" for c in range(0x20000))]
    for sentence in sentences:
        for word in tokenize(sentence, tokenizer=tokenizer, lowercase=lowercase):
            assert tokenize(word, tokenizer=tokenizer, lowercase=lowercase) == [word]


def test_bytes_and_str_give_the_same_words() -> None:
    for _, sentence, expected in golden("unicode"):
        if isinstance(sentence, str):
            assert tokenize(sentence.encode(), tokenizer="unicode", lowercase=True) == expected
    assert tokenize("a\ud800b", tokenizer="words", lowercase=True) == ["a", "b"]  # a lone surrogate separates words


def test_encode_drops_unknown_words_before_truncation_and_padding() -> None:
    words = Vocabulary(("a", "dog", "runs"), **SETTINGS)
    rows = words.encode(["A dog runs", "the a THE dog the a the dog the a", "", "unknown only", b"dog \xff dog"])
    assert rows.dtype == np.int32
    assert rows.tolist() == [[1, 2, 3, 0], [1, 2, 1, 2], [0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 0, 0]]
    assert words.encode([]).shape == (0, 4)
    assert words.size == 4
    with pytest.raises(TypeError, match="list of texts"):
        words.encode("a dog")  # type: ignore[arg-type]


@pytest.mark.parametrize("tokenizer", ["words", "unicode"])
@pytest.mark.parametrize(
    "sentence", ["unknown é " * 1_000_000, b"unknown \xc3\xa9 " * 1_000_000, "x" * 10_000_000, "\ufdfa" * 3_000_000]
)
def test_ten_megabytes_take_no_longer_than_the_maximum(tokenizer: str, sentence: str | bytes) -> None:
    words = Vocabulary(("dog",), tokenizer=tokenizer, lowercase=True, length=4)
    words.encode([sentence])
    start = time.perf_counter()
    assert words.encode([sentence]).tolist() == [[0, 0, 0, 0]]
    assert time.perf_counter() - start < 1


def test_a_text_is_read_up_to_its_maximum_of_bytes() -> None:
    words = Vocabulary(("dog",), **SETTINGS)
    filler = "é" * ((MAX_BYTES - 10) // 2)
    assert words.encode([f"{filler} dog", f"{filler}{' ' * 8}dog"]).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]


def build(captions: list[str | bytes], **settings: Any) -> Vocabulary:
    words = tokenize_captions(captions, tokenizer=SETTINGS["tokenizer"], lowercase=SETTINGS["lowercase"])
    return build_vocabulary(words, **SETTINGS, **settings)


def test_the_vocabulary_is_sorted_and_without_rare_words() -> None:
    captions = ["two dogs", "a Dog and two dogs", b"a cat"]
    settings = {"only_with_vectors": False}
    assert build(captions, **settings, min_count=1).words == ("a", "and", "cat", "dog", "dogs", "two")
    assert build(captions[::-1], **settings, min_count=2).words == ("a", "dogs", "two")
    with pytest.raises(ValueError, match=r"none of the 6 words .*min_count = 9"):
        build(captions, **settings, min_count=9)


def test_the_vocabulary_may_have_only_words_with_a_vector() -> None:
    settings = {"min_count": 1, "only_with_vectors": True}
    assert build(["a red dog"], **settings, vectors={"dog", "a", "cat"}).words == ("a", "dog")
    with pytest.raises(ValueError, match="only_with_vectors"):
        build(["a red dog"], **settings)
    with pytest.raises(ValueError, match="none of the 3 words"):
        build(["a red dog"], **settings, vectors={"cat"})


def test_extra_words_need_no_caption():
    settings = {"min_count": 2, "only_with_vectors": False}
    extra = ["dog", "wolf", "Fox", "...", "new york"]  # those that this tokenizer never produces are left out
    assert build(["a dog", "a cat"], **settings, extra_words=extra).words == ("a", "dog", "wolf")


def test_a_vocabulary_file_has_one_word_a_line_and_loads_unchanged(tmp_path: Path) -> None:
    words = build(["A café, 2 dogs 犬"], min_count=1, only_with_vectors=False)
    file = words.save(tmp_path / "vocabulary.txt")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [words.ids[line] for line in lines] == [1, 2, 3, 4, 5]
    assert load_vocabulary(file, **SETTINGS) == words
    assert list(tmp_path.iterdir()) == [file]  # and no temporary file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\ndog\na\n", "line 3: 'a' duplicates line 1"),
        (b"a\n\ndog\n", "line 2: ''"),
        (b"a\ndog\n\n", "line 3: ''"),
        (b"a\nDog\n", "line 2: 'Dog' becomes"),
        (b"a\nhot dog\n", r"line 2: 'hot dog' becomes \['hot', 'dog'\] with .* other settings"),
        (b"a\r\ndog\r\n", "line 1: 'a.r' becomes"),
        (b"a\nd\xffg\n", "not UTF-8"),
        (b"", "the vocabulary is empty"),
    ],
)
def test_errors_of_a_vocabulary_file_have_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "vocabulary.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_vocabulary(file, **SETTINGS)
    assert str(file) in str(error.value)


def test_a_missing_file_and_wrong_settings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no vocabulary at .*words\.txt"):
        load_vocabulary(tmp_path / "words.txt", **SETTINGS)
    with pytest.raises(ValueError, match="tokenizer is 'bert'; it must be words or unicode"):
        Vocabulary(("a",), tokenizer="bert", lowercase=True, length=4)
    with pytest.raises(ValueError, match="length is 0"):
        Vocabulary(("a",), tokenizer="words", lowercase=True, length=0)


def test_the_checksum_covers_all_settings_that_change_ids() -> None:
    settings = {"words": ("a", "dog"), **SETTINGS}
    changes = (
        {},
        {"words": ("dog", "a")},
        {"words": ("a", "do", "g")},
        {"tokenizer": "unicode"},
        {"lowercase": False},
        {"length": 5},
    )
    assert len({Vocabulary(**{**settings, **change}).checksum() for change in changes}) == len(changes)
    assert Vocabulary(**settings).checksum() == Vocabulary(**settings).checksum()
