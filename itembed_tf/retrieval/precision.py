"""Ranks of all relevant items of a query, and the precision measures computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.retrieval.scores import Scores, blocks

Ranks = Sequence[NDArray[np.int64]]


def relevant_ranks(
    scores: Scores, relevant: Mapping[int, Sequence[int] | NDArray[Any]], *, direction: str
) -> list[NDArray[np.int64]]:
    """The rank of every relevant item of each query, ascending; ties with other items count against the model.

    Args:
        scores: of images with captions.
        relevant: query -> its relevant items, each once, at least one; both are positions in the scores.
        direction: "image_query" (queries are images, items captions) or "text_query".

    Returns:
        For each key of `relevant`, in its order: int64 [relevant items], from 1.
    """
    images, captions = np.arange(len(scores.image_ties)), np.arange(len(scores.caption_ties))
    by_image = direction == "image_query"
    items, ties = (captions, scores.image_ties) if by_image else (images, scores.caption_ties)
    queries = np.fromiter(relevant, np.intp, len(relevant))
    ranks = []
    for part in blocks(len(queries), 256):
        block = scores.block(queries[part], items) if by_image else scores.block(items, queries[part]).T
        for query, row in zip(queries[part], np.ascontiguousarray(block)):
            ranks.append(_ranks(row, np.sort(row[np.asarray(relevant[query])]), ties[query]))
    return ranks


def _ranks(row: NDArray[np.float32], own: NDArray[np.float32], tie: np.float32) -> NDArray[np.int64]:
    """Ranks of one query: `own` holds the scores of its relevant items, ascending, `row` those of all items."""
    thresholds = own - tie
    if len(own) < 32:  # fewer passes than a sort needs
        ahead = np.array([np.count_nonzero(row >= score) for score in thresholds])
    else:
        ahead = len(row) - np.searchsorted(np.sort(row), thresholds)
    ahead -= len(own) - np.searchsorted(own, thresholds)  # relevant items among those ahead do not count
    return (ahead + np.arange(len(own), 0, -1))[::-1].astype(np.int64)


def average_precision(ranks: Ranks) -> NDArray[np.float64]:
    """Average precision (AP) of each query: the mean of the precision at the rank of each relevant item."""
    return np.array([np.mean(np.arange(1, len(own) + 1) / own) for own in ranks])


def inverse_negative_penalty(ranks: Ranks) -> NDArray[np.float64]:
    """INP of each query: number of relevant items over the rank of the last one (the mINP of IRRA is its mean)."""
    return np.array([len(own) / own[-1] for own in ranks])


def r_precision(ranks: Ranks, counts: Sequence[int]) -> NDArray[np.float64]:
    """R-Precision of each query: share of relevant items among the first R, the number of its relevant items.

    Args:
        ranks: as from `relevant_ranks`.
        counts: R of each query; relevant items that are not in the gallery count too.
    """
    return np.array([1 - (r - np.count_nonzero(own <= r)) / r for own, r in zip(ranks, counts)])


def average_precision_at_r(ranks: Ranks, counts: Sequence[int]) -> NDArray[np.float64]:
    """AP@R of each query: sum of the precision at each relevant rank up to R, over R (ECCV Caption)."""
    values = []
    for own, r in zip(ranks, counts):
        at = np.zeros(r)
        near = own[own <= r]
        at[near - 1] = 1 - (near - np.arange(1, len(near) + 1)) / near  # rounds as the package eccv-caption does
        values.append(np.mean(at))
    return np.array(values)
