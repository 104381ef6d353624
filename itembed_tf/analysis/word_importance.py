"""Leave-one-word-out importance (occlusion): the change of a caption's similarity to its image without each word.

After find_attention and find_pic of the released code (paper, figure 11). NumPy; the encoder is a function.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Encode = Callable[[np.ndarray], np.ndarray]  # ids int32 [n, L] -> float32 [n, D], unit length


@dataclass(frozen=True)
class Importance:
    """Word importance of one caption.

    Attributes:
        score: similarity of the complete caption and its image.
        changes: float32 [words], score without the word minus score with it; the most negative word matters most.
    """

    score: float
    changes: np.ndarray


@dataclass(frozen=True)
class MeanChange:
    """Mean change of the score without a word, over the places where it was left out."""

    word: int  # id
    change: float
    count: int


def word_importance(
    captions: Sequence[Sequence[int]], images: np.ndarray, encode: Encode, length: int
) -> list[Importance]:
    """Leave out every word of every caption, one at a time; the words after it move up, the image stays as it is.

    In a caption longer than the encoder's input, the first word beyond it moves in, as it would in a shorter caption;
    words beyond the input have no entry. A caption of one word has no entries, because nothing would remain of it.

    Args:
        captions: ids of the known words of each caption, without padding.
        images: float32 [captions, D], unit length: the image of each caption.
        encode: the text encoder.
        length: number of words in the encoder's input.

    Raises:
        ValueError: the numbers of images and captions differ.
    """
    if len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions but {len(images)} images; give one image per caption")
    if not captions:
        return []
    counts = [min(len(ids), length) if len(ids) > 1 else 0 for ids in captions]
    rows = [list(ids) for ids in captions]
    rows += [[*ids[:at], *ids[at + 1 :]] for ids, count in zip(captions, counts, strict=True) for at in range(count)]
    owner = np.concatenate([np.arange(len(captions)), np.repeat(np.arange(len(captions)), counts)])
    scores = np.einsum("nd,nd->n", encode(_padded(rows, length)), images[owner])
    full, without = scores[: len(captions)], scores[len(captions) :]
    changes = np.split(without - full[owner[len(captions) :]], np.cumsum(counts)[:-1])
    return [Importance(float(score), change) for score, change in zip(full, changes, strict=True)]


def _padded(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    ids = np.zeros((len(rows), length), np.int32)
    for row, words in zip(ids, rows, strict=True):
        row[: len(words)] = words[:length]
    return ids


def mean_changes(
    captions: Sequence[Sequence[int]], importances: Sequence[Importance], minimum_count: int
) -> list[MeanChange]:
    """Mean change of the score for each word that was left out at least `minimum_count` times, most negative first.

    Args:
        captions, importances: arguments and result of `word_importance`.
        minimum_count: a mean over fewer places is not reliable.
    """
    changes = defaultdict(list)
    for ids, importance in zip(captions, importances, strict=True):
        for word, change in zip(ids, importance.changes.tolist(), strict=False):  # words beyond the input have none
            changes[word].append(change)
    means = [MeanChange(word, sum(c) / len(c), len(c)) for word, c in changes.items() if len(c) >= minimum_count]
    return sorted(means, key=lambda mean: (mean.change, mean.word))
