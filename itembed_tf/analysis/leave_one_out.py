"""Which words tell a picture's sentence from others: each word is left out in turn, and the score seen to change.

After find_attention and find_pic of the released code (paper, figure 11). NumPy; the encoder is a function.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Encode = Callable[[np.ndarray], np.ndarray]  # ids int32 [n, L] -> float32 [n, D], unit length


class Words(NamedTuple):
    """One sentence against its picture: the score of all its words, and what leaving out each one changes."""

    score: float
    changes: np.ndarray  # float32 [words]: score without - score with; the most negative word tells most


class Mean(NamedTuple):
    """What leaving out a word changes on average."""

    word: int  # its id
    change: float
    times: int  # places where it was left out


def leave_one_out(sentences: Sequence[Sequence[int]], pictures: np.ndarray, encode: Encode, length: int) -> list[Words]:
    """Leave out every word of every sentence, once each, the gap closed; the picture's embedding stays as it is.

    Where a sentence is longer than the encoder reads, the next word moves in, as it would in a sentence written so;
    words behind those that are read have no entry. Nothing is left of a sentence of one word: it has no changes.

    Args:
        sentences: ids of the known words of each, not padded.
        pictures: float32 [sentences, D], unit length: the picture of each sentence.
        encode: the text encoder.
        length: words that the encoder reads.

    Raises:
        ValueError: not one picture a sentence.
    """
    if len(sentences) != len(pictures):
        raise ValueError(f"{len(sentences)} sentences for {len(pictures)} pictures; give the picture of each sentence")
    if not sentences:
        return []
    read = [min(len(ids), length) if len(ids) > 1 else 0 for ids in sentences]
    rows = [list(ids) for ids in sentences]
    rows += [[*ids[:at], *ids[at + 1 :]] for ids, words in zip(sentences, read, strict=True) for at in range(words)]
    of = np.concatenate([np.arange(len(sentences)), np.repeat(np.arange(len(sentences)), read)])
    scores = np.einsum("nd,nd->n", encode(_padded(rows, length)), pictures[of])
    changes = np.split(scores[len(sentences) :] - scores[: len(sentences)][of[len(sentences) :]], np.cumsum(read)[:-1])
    return [Words(float(score), change) for score, change in zip(scores, changes, strict=False)]


def _padded(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    ids = np.zeros((len(rows), length), np.int32)
    for row, known in zip(ids, rows, strict=True):
        row[: len(known)] = known[:length]
    return ids


def mean_changes(sentences: Sequence[Sequence[int]], words: Sequence[Words], at_least: int) -> list[Mean]:
    """What each word changes on average, the one that tells most first; only words left out `at_least` times.

    Args:
        sentences, words: as `leave_one_out` took and gave them.
        at_least: a mean of fewer says little about a word.
    """
    changes = defaultdict(list)
    for ids, found in zip(sentences, words, strict=True):
        for word, change in zip(ids, found.changes.tolist(), strict=False):  # words behind those that are read: none
            changes[word].append(change)
    means = [Mean(word, sum(c) / len(c), len(c)) for word, c in changes.items() if len(c) >= at_least]
    return sorted(means, key=lambda mean: (mean.change, mean.word))
