"""Results of one evaluation: per-query ranks, and the retrieval table with intervals computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.retrieval import (
    CUTOFFS,
    QUERY_DIRECTIONS,
    RESAMPLES,
    SEED,
    QueryFigures,
    RetrievalTable,
    chance_figures,
    interval_95,
    rank_figures,
    resampled_means,
)


@dataclass(frozen=True)
class QueryRanks:
    """Per-query results of one direction: best rank and group of each query, and other rates of it in [0, 1].

    Attributes:
        ranks: int64 [q], best rank of a correct item, 1 = first.
        groups: [q], group of each query.
        rates: further figures of each query by name, float64 [q], such as average precision ("mAP").
    """

    ranks: NDArray[np.int64]
    groups: NDArray[np.str_]
    rates: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def per_query(self) -> dict[str, NDArray[Any]]:
        """All rates of each query, in [0, 1]: found among the first 1, 5, 10, and `rates`."""
        return {**{f"R@{k}": self.ranks <= k for k in CUTOFFS}, **self.rates}

    def values(self) -> dict[str, float]:
        """The means over the queries, as `QueryFigures.values` has them."""
        return {**rank_figures(self.ranks), **{name: float(100 * rate.mean()) for name, rate in self.rates.items()}}


@dataclass(frozen=True)
class Measurement:
    """A retrieval table and the per-query results that it summarises, by direction."""

    table: RetrievalTable
    queries: dict[str, QueryRanks]


def measurement(
    queries: dict[str, QueryRanks], relevant: Mapping[str, NDArray[np.int64]], gallery: Gallery
) -> Measurement:
    """Figures and chance level of both directions; `relevant` counts the correct items of each query."""
    sizes = {"image_query": len(gallery.captions), "text_query": len(gallery.images)}
    figures = {
        direction: QueryFigures(
            ranks.values(),
            chance=chance_figures(relevant[direction], sizes[direction]),
            correct_answers=float(relevant[direction].mean()),
        )
        for direction, ranks in queries.items()
    }
    table = RetrievalTable(
        figures["image_query"],
        figures["text_query"],
        gallery_images=len(gallery.images),
        gallery_captions=len(gallery.captions),
    )
    return Measurement(table, queries)


def with_intervals(table: RetrievalTable, queries: Mapping[str, QueryRanks]) -> RetrievalTable:
    """The table with 95 % intervals of its rates and of rsum; both directions resample the same groups."""
    groups, clusters = query_clusters(queries)
    means, figures = {}, {}
    for direction in QUERY_DIRECTIONS:
        rates = queries[direction].per_query()
        columns = np.column_stack(list(rates.values()))
        means[direction] = 100 * resampled_means(columns, clusters[direction], groups, resamples=RESAMPLES)
        bounds = {name: (float(low), float(high)) for name, (low, high) in zip(rates, interval_95(means[direction]))}
        figures[direction] = replace(table[direction], intervals=bounds)
    low, high = interval_95(sum(means[direction][:, : len(CUTOFFS)].sum(axis=1) for direction in QUERY_DIRECTIONS))
    bootstrap = {"resamples": RESAMPLES, "seed": SEED, "groups": groups}
    table = replace(table, image_query=figures["image_query"], text_query=figures["text_query"])
    return replace(table, rsum_interval=(float(low), float(high)), bootstrap=bootstrap)


def query_clusters(queries: Mapping[str, QueryRanks]) -> tuple[int, dict[str, NDArray[np.intp]]]:
    """Number of groups, and the group of each query as an integer that both directions share."""
    groups = [queries[direction].groups for direction in QUERY_DIRECTIONS]
    names, numbers = np.unique(np.concatenate(groups), return_inverse=True)
    return len(names), dict(zip(QUERY_DIRECTIONS, np.split(numbers, [len(groups[0])])))
