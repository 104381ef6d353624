"""Readers of word2vec's binary and text formats and of GloVe's text format. Words are UTF-8 bytes."""

from __future__ import annotations

import codecs
import gzip
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from itembed_tf.git_pointer import HEAD, pointer_problem

Rows = dict[bytes, np.ndarray]
FASTTEXT = (793712314).to_bytes(4, "little")  # the first bytes of a model that fastText has saved
MAX_WORD_BYTES = 10_000  # a longer run of bytes without a space is no word2vec file
BLOCK = 1 << 22  # bytes read at once


@dataclass(frozen=True)
class Wanted:
    """Selects words of a file: those in `words` (None: all), and the first `first` of the file."""

    words: set[bytes] | None
    first: int

    def __call__(self, position: int, word: bytes) -> bool:
        """Whether to load a word, given its position in the file, counted from 0."""
        return self.words is None or position < self.first or word in self.words


def check_width(what: str, actual: int, width: int) -> None:
    """Raise ValueError unless word vectors have text_tower.word_width dimensions."""
    if actual != width:
        raise ValueError(
            f"{what}: word vectors of {actual} dimensions, but text_tower.word_width is {width}; set "
            f"text_tower.word_width = {actual}, or choose other word vectors"
        )


def select(words: Sequence[str], matrix: np.ndarray, wanted: Wanted) -> Rows:
    """The rows of a matrix [N, width] that belong to wanted words."""
    encoded = ((word.encode("utf-8", "replace"), row) for row, word in enumerate(words))
    return {word: matrix[row] for word, row in encoded if wanted(row, word)}


def check_format(path: Path) -> None:
    """Raise ValueError for a file that no source reads, by its first bytes: what it is, and what to use instead."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if problem := pointer_problem(head):
        raise ValueError(f"{path} {problem}")
    if head.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path} is a zip archive; unpack it, and set word_vectors.path to the file in it")
    if head.startswith(b"\x1f\x8b") and path.suffix != ".gz":
        raise ValueError(f"{path} is compressed by gzip; add .gz to its name, or unpack it")


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """Open a file, decompressed if its name ends in .gz, after its byte-order mark if it has one.

    Raises:
        ValueError: it is a model of fastText.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        head = file.peek(len(FASTTEXT))
        if head.startswith(FASTTEXT):
            raise ValueError(
                f"{path} is a model of fastText, which is not read; use its vectors, the file of the same name that "
                'ends in .vec or .vec.gz (https://fasttext.cc), with word_vectors.source = "word2vec"'
            )
        if head.startswith(codecs.BOM_UTF8):
            file.read(len(codecs.BOM_UTF8))
        yield file


def read_word2vec(path: Path, wanted: Wanted, width: int) -> Rows:
    """Read the format of the original word2vec tool: binary if the name ends in .bin or .bin.gz, else text."""
    binary = path.name.removesuffix(".gz").endswith(".bin")
    with _open(path) as file:
        header = file.readline(100).split()
        if len(header) != 2 or not all(part.isdigit() for part in header):
            raise ValueError(
                f"{path} is not in word2vec's format: its first line must be the number of words and the width. For "
                'text without such a header, set word_vectors.source = "glove"'
            )
        count = int(header[0])
        check_width(str(path), int(header[1]), width)
        pairs: Iterator[tuple[bytes, np.ndarray]]
        if binary:
            pairs = ((word, np.frombuffer(raw, "<f4")) for word, raw in _binary_rows(path, file, count, width, wanted))
        else:
            pairs = _text_rows(path, file, width, wanted, first_line=2, count=count)
        return _first_of_each(pairs)


def read_glove(path: Path, wanted: Wanted, width: int) -> Rows:
    """Read GloVe's text format: a word and its vector a line, no header."""
    with _open(path) as file:
        first = file.readline(1_000_000)
        if len(first.split()) < 2:
            raise ValueError(f"{path} does not start with a word and its vector; is it in GloVe's text format?")
        if len(first.split()) == 2 and width != 1:
            raise ValueError(f'{path} starts with a header of two numbers; set word_vectors.source = "word2vec"')
        check_width(str(path), len(first.split()) - 1, width)
        return _first_of_each(_text_rows(path, chain([first], file), width, wanted, first_line=1))


def _first_of_each(pairs: Iterable[tuple[bytes, np.ndarray]]) -> Rows:
    rows: Rows = {}
    for word, values in pairs:
        rows.setdefault(word, values)
    return rows


def _text_rows(
    path: Path, lines: Iterable[bytes], width: int, wanted: Wanted, *, first_line: int, count: int | None = None
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Rows of a text file; `count` is the number of words that its header promises."""
    words = 0
    for number, line in enumerate(lines, start=first_line):
        if not line.strip():
            continue
        words += 1
        word, *values = line.rstrip().rsplit(b" ", width)  # from the right: a few GloVe words contain spaces
        try:
            if len(values) != width:
                raise ValueError
            if wanted(words - 1, word):
                yield word, np.array([float(value) for value in values], np.float32)
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: expected a word and {width} numbers, not {line[:60]!r}; is it in another "
                "format? (word2vec binary files must be named .bin or .bin.gz)"
            ) from None
    if count is not None and words < count:
        raise ValueError(
            f"{path} ends after {words:,} of the {count:,} words that its first line promises: an incomplete download; "
            "download it again"
        )
    if count is not None and words > count:
        warnings.warn(
            f"{path} has {words:,} words, more than the {count:,} of its first line; all are read", stacklevel=2
        )


def _binary_rows(
    path: Path, file: io.BufferedReader | gzip.GzipFile, count: int, width: int, wanted: Wanted
) -> Iterator[tuple[bytes, bytes]]:
    buffer, start, size = b"", 0, 4 * width
    for number in range(1, count + 1):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + size:
            more = file.read(BLOCK)
            if not more or (space < 0 and len(buffer) - start > MAX_WORD_BYTES):
                raise ValueError(
                    f"{path} ends at word {number} of {count}: an incomplete download, or not word2vec's binary format "
                    "(text files must not be named .bin)"
                )
            buffer, start = buffer[start:] + more, 0
        word, start = buffer[start:space].lstrip(b"\n"), space + 1 + size
        if wanted(number - 1, word):
            yield word, buffer[space + 1 : start]
