"""Values of queries that belong together in clusters -> how sure their mean is: a bootstrap over whole clusters.

The captions of one picture are hard or easy together. Resampling queries one by one would take them for independent and
give intervals that are too narrow; so whole clusters are drawn, each with all of its queries. Ranks are computed once
and the gallery stays as it is: an interval says how much of a figure is the luck of which pictures were asked about. It
says nothing of how much another seed of the training would change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 0


def resampled_means(
    values: NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_],
    clusters: NDArray[np.integer],
    count: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> NDArray[np.float64]:
    """Means of the values over clusters drawn with replacement.

    Two calls of the same count, resamples and seed draw the same clusters: their results are paired, row by row.

    Args:
        values: [q, k], k values of each query.
        clusters: [q], the cluster of each query, from 0 to count - 1; a cluster may have any number of queries.
        count: clusters there are, and clusters drawn.

    Returns:
        float64 [resamples, k]; NaN where no drawn cluster has a query.
    """
    sums = np.zeros((count, values.shape[1] + 1))
    np.add.at(sums, clusters, np.column_stack([values, np.ones(len(values))]))
    draws = np.random.default_rng(seed)
    totals = []
    for _ in range(resamples):
        times = np.bincount(draws.integers(0, count, count), minlength=count)
        totals.append(times @ sums)
    total = np.array(totals)
    with np.errstate(invalid="ignore"):
        return total[:, :-1] / total[:, -1:]


def interval_95(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle 95 % of resampled figures, [resamples, k] -> [k, 2] (percentile bootstrap; Efron, 1979)."""
    return np.nanpercentile(draws, [2.5, 97.5], axis=0).T
