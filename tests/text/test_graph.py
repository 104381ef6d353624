"""Parity of the text graph with Python, for every character and difficult texts, also in a SavedModel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.text import Vocabulary, tokenize
from itembed_tf.text.graph import TextGraph
from tests.support.golden_sentences import generated, golden

TOKENIZERS = ("words", "unicode")


def vocabulary_of(sentences: Sequence[str | bytes], tokenizer: str) -> Vocabulary:
    """The words of the texts without every fifth, so that some are out of vocabulary."""
    words = sorted({w for sentence in sentences for w in tokenize(sentence, tokenizer=tokenizer, lowercase=True)})
    known = tuple(word for i, word in enumerate(words) if i % 5)
    return Vocabulary(known, tokenizer=tokenizer, lowercase=True, length=32)


def traced(graph: TextGraph) -> Any:
    """As the exports trace it."""
    return tf.function(graph, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)


def assert_same(vocabulary: Vocabulary, folder: Path, sentences: Sequence[str | bytes]) -> None:
    graph = TextGraph(vocabulary, vocabulary.save(folder / "vocabulary.txt"))
    ids, known = traced(graph)(tf.constant(sentences))
    expected = vocabulary.encode(sentences)
    assert ids.dtype == tf.int32
    assert known.dtype == tf.int32
    wrong = np.flatnonzero((ids.numpy() != expected).any(axis=1))
    assert [sentences[i] for i in wrong] == []
    np.testing.assert_array_equal(known.numpy(), (expected > 0).sum(axis=1))
    assert expected.any()


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_golden_texts(tmp_path: Path, tokenizer: str) -> None:
    sentences = [sentence for _, sentence, _ in golden(tokenizer)]
    assert_same(vocabulary_of(sentences, tokenizer), tmp_path, sentences)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_ten_thousand_captions(tmp_path: Path, tokenizer: str) -> None:
    sentences = generated(10_000, seed=1)
    assert_same(vocabulary_of(sentences, tokenizer), tmp_path, sentences)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_every_character_of_the_first_two_planes(tmp_path: Path, tokenizer: str, lowercase: bool) -> None:
    codes = [*range(0xD800), *range(0xE000, 0x20000), *range(0x20000, 0x110000, 97)]
    sentences = [f"a{chr(code)}b" for code in codes]
    words = {w for sentence in sentences for w in tokenize(sentence, tokenizer=tokenizer, lowercase=lowercase)}
    assert_same(
        Vocabulary(tuple(sorted(words)), tokenizer=tokenizer, lowercase=lowercase, length=4), tmp_path, sentences
    )


def test_known_words_counts_the_ids(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("a", "dog"), tokenizer="words", lowercase=True, length=3)
    graph = TextGraph(vocabulary, vocabulary.save(tmp_path / "vocabulary.txt"))
    ids, known = graph(tf.constant(["The dog", "a dog a dog a dog", "", "\x00 ...", "unknown"]))
    assert ids.numpy().tolist() == [[2, 0, 0], [1, 2, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert known.numpy().tolist() == [1, 3, 0, 0, 0]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_an_empty_batch_and_ten_megabytes(tmp_path: Path, tokenizer: str) -> None:
    vocabulary = Vocabulary(("dog",), tokenizer=tokenizer, lowercase=True, length=3)
    graph = traced(TextGraph(vocabulary, vocabulary.save(tmp_path / "v.txt")))
    ids, known = graph(tf.constant([], tf.string))
    assert ids.shape == (0, 3)
    assert known.shape == (0,)
    long = ["é" * 5_000_000 + " dog", "dog " + "é" * 5_000_000]
    assert graph(tf.constant(long))[0].numpy().tolist() == vocabulary.encode(long).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_a_rewritten_vocabulary_file_is_read_again(tmp_path: Path) -> None:
    """Fails if TensorFlow no longer uses the private `_shared_name` of a table initialiser (text/graph.py)."""
    file = tmp_path / "vocabulary.txt"
    for words in (("a", "dog"), ("cat", "dog", "zebra")):
        vocabulary = Vocabulary(words, tokenizer="words", lowercase=True, length=2)
        graph = TextGraph(vocabulary, vocabulary.save(file))
        assert graph(tf.constant(["cat dog"]))[0].numpy().tolist() == vocabulary.encode(["cat dog"]).tolist()


def test_a_file_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("a", "dog"), tokenizer="words", lowercase=True, length=2)
    file = Vocabulary(("a", "cat"), tokenizer="words", lowercase=True, length=2).save(tmp_path / "vocabulary.txt")
    with pytest.raises(ValueError, match=r"vocabulary.txt \(2 words\) differs from the vocabulary \(2 words\)"):
        TextGraph(vocabulary, file)


def test_missing_tensorflow_text_is_an_error_before_tracing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    vocabulary = Vocabulary(("a",), tokenizer="unicode", lowercase=True, length=2)
    with pytest.raises(ModuleNotFoundError, match=r'text\.tokenizer = "words"'):
        TextGraph(vocabulary, vocabulary.save(tmp_path / "vocabulary.txt"))


LOAD = """
import json, sys
import tensorflow as tf
sys.modules["itembed_tf"] = None  # a server does not have it
for tokenizer in sys.argv[1:]:
    sys.modules["tensorflow_text"] = None  # only one tokenizer needs it
    if tokenizer == "unicode":
        del sys.modules["tensorflow_text"]
        import tensorflow_text
    loaded = tf.saved_model.load(f"{tokenizer}/model")
    ids, known = loaded.encode(tf.constant(json.load(open(f"{tokenizer}/sentences.json"))))
    json.dump([ids.numpy().tolist(), known.numpy().tolist()], open(f"{tokenizer}/answer.json", "w"))
"""


def test_a_saved_model_contains_its_vocabulary(tmp_path: Path) -> None:
    expected = {tokenizer: save_model(tokenizer, tmp_path / tokenizer) for tokenizer in TOKENIZERS}
    command = [sys.executable, "-c", LOAD, *TOKENIZERS]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    for tokenizer, rows in expected.items():
        ids, known = json.loads((tmp_path / tokenizer / "answer.json").read_text(encoding="utf-8"))
        assert ids == rows.tolist()
        assert known == (rows > 0).sum(axis=1).tolist()


def save_model(tokenizer: str, there: Path) -> np.ndarray:
    """Write a SavedModel of the graph and sentences for it, and move the folder to `there`; returns the ids."""
    sentences = [sentence for _, sentence, _ in golden(tokenizer) if isinstance(sentence, str)]
    vocabulary = vocabulary_of(sentences, tokenizer)
    here = there.with_name(f"{tokenizer} before it was moved")
    graph = TextGraph(vocabulary, vocabulary.save(here / "vocabulary.txt"))
    module = tf.Module()
    module.graph = graph
    module.encode = traced(graph)
    tf.saved_model.save(module, str(here / "model"))
    assert (here / "model/assets/vocabulary.txt").read_bytes() == (here / "vocabulary.txt").read_bytes()
    shutil.copytree(here / "model", there / "model")
    shutil.rmtree(here)
    (there / "sentences.json").write_text(json.dumps(sentences), encoding="utf-8")
    return vocabulary.encode(sentences)
