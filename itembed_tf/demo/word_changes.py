"""Leave-one-out weight of each word of a text for one item: how its score changes without the word.

After find_pic of the released code (paper, figure 11), on texts in place of ids, so that the text encoder is enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.text.tokenizer import SCRIPT_WORDS

MAX_WORDS = 48  # of a text that are left out in turn; later words have no weight
_WORDS = re.compile(rf"(\s+)|{SCRIPT_WORDS}")
Embed = Callable[[Sequence[str]], NDArray[np.float32]]  # n texts -> float32 [n, D], unit length


@dataclass(frozen=True)
class Word:
    """A word of a text as the user wrote it.

    Attributes:
        text: the word; all of them joined with spaces where `spaced` give the text.
        spaced: whether a space precedes it.
        change: score without the word minus score with it, so negative for a word that speaks for the item; None for
            the only word of a text, and for words beyond MAX_WORDS.
    """

    text: str
    spaced: bool
    change: float | None


@dataclass(frozen=True)
class WordChanges:
    """The score (cosine) of a whole text with an item, and the change without each of its words."""

    score: float
    words: tuple[Word, ...]


def word_changes(text: str, vector: NDArray[np.float32], embed: Embed) -> WordChanges:
    """Leave out each word of a text in turn, and compare with the vector of an item.

    Args:
        vector: float32 [D], unit length.
        embed: the text encoder.
    """
    words = split_words(text)
    count = min(len(words), MAX_WORDS) if len(words) > 1 else 0
    without = [_joined([*words[:i], *words[i + 1 :]]) for i in range(count)]
    scores = embed([_joined(words), *without]) @ vector
    changes = [float(score) for score in scores[1:] - scores[0]]
    padded: list[float | None] = [*changes, *[None] * (len(words) - count)]
    return WordChanges(float(scores[0]), tuple(Word(*word, change) for word, change in zip(words, padded)))


def split_words(text: str) -> list[tuple[str, bool]]:
    """The words of a text as written, and whether a space precedes each; scripts without spaces by character."""
    found: list[tuple[str, bool]] = []
    spaced = False
    for piece in _WORDS.split(text):
        if piece and piece.isspace():
            spaced = True
        elif piece:
            found.append((piece, spaced and bool(found)))
            spaced = False
    return found


def _joined(words: Sequence[tuple[str, bool]]) -> str:
    return "".join(f" {word}" if spaced else word for word, spaced in words)
