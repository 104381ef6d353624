"""Vocabulary: words to ids, read from and written to a file of one word a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from itembed_tf import files
from itembed_tf.text.tokenizer import RULES_VERSION, TOKENIZERS, tokenize


@dataclass(frozen=True)
class Vocabulary:
    """The words a model knows: the id of words[i] is i + 1, and 0 is padding.

    Raises:
        ValueError: no words, an empty or repeated word, or one that this tokenizer can never find in a sentence.
    """

    words: tuple[str, ...]
    tokenizer: str
    lowercase: bool
    length: int

    def __post_init__(self) -> None:
        if self.tokenizer not in TOKENIZERS:
            raise ValueError(f"tokenizer is {self.tokenizer!r}; it may be {' or '.join(TOKENIZERS)}")
        if self.length < 1:
            raise ValueError(f"length is {self.length}; a sentence needs room for at least 1 word")
        if not self.words:
            raise ValueError("a vocabulary without words; lower text.min_count, or look at the training captions")
        settings = f"tokenizer {self.tokenizer!r}, lowercase = {str(self.lowercase).lower()}"
        first: dict[str, int] = {}
        for line, word in enumerate(self.words, start=1):
            if first.setdefault(word, line) < line:
                raise ValueError(f"line {line}: {word!r} stands on line {first[word]} already; every word has one id")
            if (found := self.tokenize(word)) != [word]:
                raise ValueError(f"line {line}: {word!r} is no word with {settings}, but {found}; were they others?")

    @property
    def size(self) -> int:
        """Rows of a word table: the words and the padding."""
        return len(self.words) + 1

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word -> id."""
        return {word: i for i, word in enumerate(self.words, start=1)}

    def tokenize(self, sentence: str | bytes) -> list[str]:
        """All words of a sentence, known or not."""
        return tokenize(sentence, tokenizer=self.tokenizer, lowercase=self.lowercase)

    def encode(self, sentences: Sequence[str | bytes]) -> np.ndarray:
        """Ids int32 [n, length]: unknown words dropped, then the first `length`, left-aligned, 0 to the right."""
        if isinstance(sentences, (str, bytes)):
            raise TypeError("encode takes a list of sentences; put the one sentence into a list")
        ids, length = self.ids, self.length
        rows = np.zeros((len(sentences), length), np.int32)
        for row, sentence in zip(rows, sentences):
            known = [ids[word] for word in self.tokenize(sentence) if word in ids][:length]
            row[: len(known)] = known
        return rows

    def save(self, path: str | Path) -> Path:
        """Write one word a line, so that a word's id is its line number; the file is whole or absent."""
        return files.write_atomically(path, "".join(f"{word}\n" for word in self.words))

    def checksum(self) -> str:
        """SHA-256 (hex) of all that decides which ids a sentence gets."""
        settings = (RULES_VERSION, self.tokenizer, str(self.lowercase), str(self.length))
        return files.checksum(*settings, *self.words)


def load_vocabulary(path: str | Path, *, tokenizer: str, lowercase: bool, length: int) -> Vocabulary:
    """Read a vocabulary file: UTF-8, one word a line, id = line number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8, or a word that `Vocabulary` refuses; it names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no vocabulary at {path}; a run directory holds one as vocabulary.txt")
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); it should hold one word a line") from None
    if lines[-1] == "":
        lines.pop()
    try:
        return Vocabulary(tuple(lines), tokenizer=tokenizer, lowercase=lowercase, length=length)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def build_vocabulary(
    captions: Iterable[str | bytes],
    *,
    tokenizer: str,
    lowercase: bool,
    length: int,
    min_count: int,
    only_with_vectors: bool,
    vectors: Container[str] | None = None,
    extra_words: Iterable[str] = (),
) -> Vocabulary:
    """Words that occur `min_count` times and, if asked, have a vector, and `extra_words`; sorted, the same everywhere.

    Raises:
        ValueError: only_with_vectors without vectors, or no word left.
    """
    if only_with_vectors and vectors is None:
        raise ValueError('text.only_with_vectors needs word vectors; word_vectors.source = "random" has none')
    counts = Counter(word for c in captions for word in tokenize(c, tokenizer=tokenizer, lowercase=lowercase))
    allowed = vectors if only_with_vectors and vectors is not None else counts
    words = {word for word in counts if counts[word] >= min_count and word in allowed}
    words |= {word for word in extra_words if tokenize(word, tokenizer=tokenizer, lowercase=lowercase) == [word]}
    if not words:
        settings = f"text.min_count = {min_count}, text.only_with_vectors = {str(only_with_vectors).lower()}"
        raise ValueError(f"no word left of {len(counts)} in the training captions ({settings}); loosen these")
    return Vocabulary(tuple(sorted(words)), tokenizer=tokenizer, lowercase=lowercase, length=length)
