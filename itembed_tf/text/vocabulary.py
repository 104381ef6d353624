"""Vocabulary: maps words to ids; saved as a text file of one word a line."""

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
    """The words that a model knows. The id of ``words[i]`` is i + 1; 0 is padding.

    Attributes:
        words: in the order of their ids.
        tokenizer: "words" or "unicode".
        lowercase: whether texts are case-folded.
        length: L, the maximum number of known words that are read from a text.

    Raises:
        ValueError: no words, an empty or repeated word, or a word that this tokenizer never produces.
    """

    words: tuple[str, ...]
    tokenizer: str
    lowercase: bool
    length: int

    def __post_init__(self) -> None:
        if self.tokenizer not in TOKENIZERS:
            raise ValueError(f"tokenizer is {self.tokenizer!r}; it must be {' or '.join(TOKENIZERS)}")
        if self.length < 1:
            raise ValueError(f"length is {self.length}; it must be >= 1")
        if not self.words:
            raise ValueError("the vocabulary is empty; lower text.min_count, or check the training captions")
        settings = f"tokenizer {self.tokenizer!r} and lowercase = {str(self.lowercase).lower()}"
        first_line: dict[str, int] = {}
        for line, word in enumerate(self.words, start=1):
            if first_line.setdefault(word, line) < line:
                raise ValueError(f"line {line}: {word!r} duplicates line {first_line[word]}; remove one of them")
            if (tokens := self.tokenize(word)) != [word]:
                raise ValueError(
                    f"line {line}: {word!r} becomes {tokens} with {settings}; was the vocabulary built with other "
                    "settings?"
                )

    @property
    def size(self) -> int:
        """Rows of the word embeddings: all words, and padding."""
        return len(self.words) + 1

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by word."""
        return {word: i for i, word in enumerate(self.words, start=1)}

    def tokenize(self, text: str | bytes) -> list[str]:
        """Split a text into words, out-of-vocabulary words included."""
        return tokenize(text, tokenizer=self.tokenizer, lowercase=self.lowercase)

    def encode(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Encode texts as ids, int32 [n, L]: known words only, truncated to L, padded with 0 on the right.

        Raises:
            TypeError: a single text instead of a list.
        """
        if isinstance(texts, (str, bytes)):
            raise TypeError("encode takes a list of texts; write encode([text])")
        return self._encode(map(self.tokenize, texts), len(texts))

    def encode_words(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Encode texts that are tokenised already, as `encode` does."""
        return self._encode(texts, len(texts))

    def _encode(self, texts: Iterable[Sequence[str]], count: int) -> np.ndarray:
        ids = self.ids
        rows = np.zeros((count, self.length), np.int32)
        for row, words in zip(rows, texts, strict=True):
            known = [ids[word] for word in words if word in ids][: self.length]
            row[: len(known)] = known
        return rows

    def save(self, path: str | Path) -> Path:
        """Write one word a line (the line number is the id), atomically."""
        return files.write_atomically(path, "".join(f"{word}\n" for word in self.words))

    def checksum(self) -> str:
        """SHA-256 (hex) of the words and all settings that decide a text's ids."""
        settings = (RULES_VERSION, self.tokenizer, str(self.lowercase), str(self.length))
        return files.checksum(*settings, *self.words)


def load_vocabulary(path: str | Path, *, tokenizer: str, lowercase: bool, length: int) -> Vocabulary:
    """Read a vocabulary file: UTF-8, one word a line, id = line number.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: not UTF-8, or a word that `Vocabulary` refuses; the message has file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no vocabulary at {path}; a run directory has one, vocabulary.txt")
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); it must hold one word a line") from None
    if lines[-1] == "":
        lines.pop()
    try:
        return Vocabulary(tuple(lines), tokenizer=tokenizer, lowercase=lowercase, length=length)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def tokenize_captions(captions: Iterable[str | bytes], *, tokenizer: str, lowercase: bool) -> list[list[str]]:
    """Tokenise captions for `build_vocabulary`; equal words share one str, which saves memory."""
    shared: dict[str, str] = {}
    return [
        [shared.setdefault(word, word) for word in tokenize(caption, tokenizer=tokenizer, lowercase=lowercase)]
        for caption in captions
    ]


def build_vocabulary(
    captions: Iterable[Sequence[str]],
    *,
    tokenizer: str,
    lowercase: bool,
    length: int,
    min_count: int,
    only_with_vectors: bool,
    vectors: Container[str] | None = None,
    extra_words: Iterable[str] = (),
) -> Vocabulary:
    """Build the vocabulary of tokenised captions (`tokenize_captions`), sorted, the same on every machine.

    Args:
        captions: the words of each caption.
        tokenizer, lowercase, length: as in `Vocabulary`; the captions are tokenised with these.
        min_count: minimum number of occurrences of a word.
        only_with_vectors: keep only words that have a word vector.
        vectors: words that have one.
        extra_words: words that are added although no caption has them, where the tokenizer produces them.

    Raises:
        ValueError: only_with_vectors without vectors, or no word left.
    """
    if only_with_vectors and vectors is None:
        raise ValueError('text.only_with_vectors needs word vectors; word_vectors.source = "random" has none')
    counts = Counter(word for words in captions for word in words)
    allowed = vectors if only_with_vectors and vectors is not None else counts
    words = {word for word in counts if counts[word] >= min_count and word in allowed}
    words |= {word for word in extra_words if tokenize(word, tokenizer=tokenizer, lowercase=lowercase) == [word]}
    if not words:
        settings = f"text.min_count = {min_count}, text.only_with_vectors = {str(only_with_vectors).lower()}"
        raise ValueError(
            f"none of the {len(counts)} words of the training captions is left with {settings}; relax these settings"
        )
    return Vocabulary(tuple(sorted(words)), tokenizer=tokenizer, lowercase=lowercase, length=length)
