"""Cluster bootstrap: confidence intervals of a mean over queries that are not independent.

The captions of one image are hard or easy together. Resampling single queries would treat them as independent and give
intervals that are too narrow, so whole clusters are resampled, each with all of its queries. Ranks are computed once
and the gallery stays fixed: an interval shows how much a figure depends on which images were used as queries. It does
not cover the variation between training seeds.
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

    Two calls with the same count, resamples and seed draw the same clusters: their results are paired, row by row.

    Args:
        values: [q, k], k values of each query.
        clusters: [q], the cluster of each query, from 0 to count - 1; a cluster may have any number of queries.
        count: number of clusters, and number of clusters in each resample.

    Returns:
        float64 [resamples, k]; NaN where no drawn cluster has a query.
    """
    sums = np.zeros((count, values.shape[1] + 1))
    np.add.at(sums, clusters, np.column_stack([values, np.ones(len(values))]))
    generator = np.random.default_rng(seed)
    totals = []
    for _ in range(resamples):
        multiplicity = np.bincount(generator.integers(0, count, count), minlength=count)
        totals.append(multiplicity @ sums)
    total = np.array(totals)
    with np.errstate(invalid="ignore"):
        return total[:, :-1] / total[:, -1:]


def interval_95(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percentile bootstrap interval (Efron, 1979): the middle 95 % of the means, [resamples, k] -> [k, 2]."""
    return np.nanpercentile(means, [2.5, 97.5], axis=0).T
