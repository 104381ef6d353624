"""Relevance bands: ranges of the score of a hit, each with the share of hits that were right on a measured set.

A score alone says little: 0.3 is high for one model and low for another. A band has a fixed meaning, a least share of
right hits, and carries the counts that were measured. They hold for a gallery like the measured one: a larger gallery
has more wrong items that reach a given score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRONG, LIKELY, WEAK = "strong", "likely", "weak"
MEANINGS = {STRONG: 0.5, LIKELY: 0.2, WEAK: 0.0}  # the least share of right hits, of the measured set
SHOWN = 10  # hits of a query that are counted: a first page
SMALLEST = 100  # hits of a group whose share is measured
LEAST_HITS = 200  # of a band other than the last


@dataclass(frozen=True)
class Band:
    """A range of scores: from `threshold` up to the threshold of the band above.

    Attributes:
        name: "strong", "likely" or "weak".
        threshold: lowest score; -inf, stored as the lowest float, for the last band.
        right, hits: of the measured hits in the range, those that were right, and all.
    """

    name: str
    threshold: float
    right: int
    hits: int

    @property
    def precision(self) -> float:
        """Share of right hits, 0 to 1."""
        return self.right / self.hits if self.hits else 0.0

    def describe(self) -> str:
        """The band in words, such as "strong: 6 of 10 were right on dev"."""
        tenths = 10 * self.precision
        share = f"{tenths:.0f} of 10" if tenths >= 0.95 else f"{100 * self.precision:.0f} of 100"
        return f"{self.name}: {share} were right on dev"


LOWEST = float(np.finfo(np.float32).min)


def band_of(bands: Sequence[Band], score: float) -> str:
    """The name of the band of a score; "" without bands."""
    return next((band.name for band in bands if score >= band.threshold), "")


def shown_hits(
    scores: NDArray[np.float32], query_groups: NDArray[np.integer], item_groups: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The first hits of every query: their scores and whether they are right, [n, at most `SHOWN`] each.

    Args:
        scores: [n, m] of n queries with m items.
        query_groups, item_groups: the group of each; an item of a query's group is right.
    """
    count = min(SHOWN, scores.shape[1])
    order = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    right = query_groups[:, None] == item_groups[order]
    return np.take_along_axis(scores, order, axis=1), right


def fit_bands(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> tuple[Band, ...]:
    """Bands of scores by isotonic regression of `right` on the score, over groups of `SMALLEST` hits.

    A band ends where the fitted share falls below its meaning. It is left out, and its hits belong to the next one,
    where it has fewer than `LEAST_HITS` hits, or its share is not above its meaning by two standard errors: the best of
    many groups of hits looks better than it is. Without this, the best band of a weak model promised 55 % on one half
    of dev and held 50 % on the other.

    Args:
        scores, right: of the hits, any shape.

    Returns:
        Best band first; the last one is "weak" and has no lower limit. Empty for fewer than `SMALLEST` hits.
    """
    order = np.argsort(-scores, axis=None, kind="stable")
    sorted_scores, sorted_right = scores.ravel()[order], right.ravel()[order]
    if len(order) < SMALLEST:
        return ()
    bins = np.array_split(np.arange(len(order)), len(order) // SMALLEST)
    shares = _descending(np.array([sorted_right[rows].mean() for rows in bins]))
    bands, first = [], 0
    for name, least in MEANINGS.items():
        last = len(bins) if name == WEAK else int(np.count_nonzero(shares >= least))
        rows = np.concatenate([*bins[first:last], np.zeros(0, np.intp)]).astype(np.intp)
        good = int(sorted_right[rows].sum())
        threshold = LOWEST if name == WEAK or not len(rows) else float(sorted_scores[rows[-1]])
        if name == WEAK or _is_above(good, len(rows), least):
            bands.append(Band(name, threshold, good, len(rows)))
            first = last
    return tuple(bands)


def _is_above(good: int, hits: int, least: float) -> bool:
    """Whether a share of enough hits is above `least` by two standard errors."""
    return hits >= LEAST_HITS and good / hits - 2 * (least * (1 - least) / hits) ** 0.5 >= least


def _descending(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest non-increasing sequence in least squares: isotonic regression, by pooling adjacent violators."""
    blocks: list[tuple[float, int]] = []  # mean and length
    for value in values.tolist():
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (mean, count), (before, others) = blocks.pop(), blocks.pop()
            blocks.append(((mean * count + before * others) / (count + others), count + others))
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
