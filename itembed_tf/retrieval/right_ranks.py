"""Scores and lists of right items -> the rank of every right item, and what precision measures make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.retrieval.scores import Scores, blocks

Ranks = Sequence[NDArray[np.int64]]


def right_ranks(
    scores: Scores, right: Mapping[int, Sequence[int] | NDArray[Any]], *, images_ask: bool
) -> list[NDArray[np.int64]]:
    """The rank of every right item of each query, ascending; ties with what is not right count against us.

    Args:
        scores: of pictures with captions.
        right: query -> its right items, each once, at least one; both as positions in the scores.
        images_ask: queries are pictures and items captions, or the other way round.

    Returns:
        For each key of `right`, in its order: int64 [right items], from 1.
    """
    sides = (np.arange(len(scores.image_ties)), np.arange(len(scores.caption_ties)))
    items, ties = (sides[1], scores.image_ties) if images_ask else (sides[0], scores.caption_ties)
    asked = np.fromiter(right, np.intp, len(right))
    ranks = []
    for part in blocks(len(asked), 256):
        found = scores.block(asked[part], items) if images_ask else scores.block(items, asked[part]).T
        for query, row in zip(asked[part], np.ascontiguousarray(found)):
            ranks.append(_ranks(row, np.sort(row[np.asarray(right[query])]), ties[query]))
    return ranks


def _ranks(row: NDArray[np.float32], own: NDArray[np.float32], tie: np.float32) -> NDArray[np.int64]:
    """Of one query: `own` are the scores of its right items, ascending, among those of all."""
    least = own - tie
    if len(own) < 32:  # fewer passes than a sort takes
        ahead = np.array([np.count_nonzero(row >= score) for score in least])
    else:
        ahead = len(row) - np.searchsorted(np.sort(row), least)
    # those were all items as good, and the right ones among them do not count
    ahead -= len(own) - np.searchsorted(own, least)
    return (ahead + np.arange(len(own), 0, -1))[::-1].astype(np.int64)


def average_precision(ranks: Ranks) -> NDArray[np.float64]:
    """AP of each query: the mean, over its right items, of the share of right ones down to it."""
    return np.array([np.mean(np.arange(1, len(own) + 1) / own) for own in ranks])


def inverse_negative_penalty(ranks: Ranks) -> NDArray[np.float64]:
    """INP of each query: how many items are right, over the rank of the last of them (as IRRA's mINP has it)."""
    return np.array([len(own) / own[-1] for own in ranks])


def r_precision(ranks: Ranks, counts: Sequence[int]) -> NDArray[np.float64]:
    """The share of right ones among the first R of each query, R = `counts`: its right items, found or not."""
    return np.array([1 - (r - np.count_nonzero(own <= r)) / r for own, r in zip(ranks, counts)])


def average_precision_at_r(ranks: Ranks, counts: Sequence[int]) -> NDArray[np.float64]:
    """AP@R of each query: the precision at each right rank up to R, summed, over R (ECCV Caption)."""
    values = []
    for own, r in zip(ranks, counts):
        at = np.zeros(r)
        near = own[own <= r]
        at[near - 1] = 1 - (near - np.arange(1, len(near) + 1)) / near  # rounds as the package eccv-caption does
        values.append(np.mean(at))
    return np.array(values)
