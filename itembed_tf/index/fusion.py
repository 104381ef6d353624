"""Reciprocal rank fusion: one ranking out of several whose scores cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

RANK_CONSTANT = 60  # of the paper


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], constant: int = RANK_CONSTANT) -> list[int]:
    """All ids of the rankings by the sum of 1 / (constant + rank), the rank counted from 1; equal sums by id.

    Cormack, Clarke and Büttcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods,
    SIGIR 2009, section 2.

    Args:
        rankings: ids, best first; an id is in each at most once.
    """
    sums: dict[int, float] = {}
    for ranking in rankings:
        for rank, id in enumerate(ranking, start=1):
            sums[id] = sums.get(id, 0.0) + 1.0 / (constant + rank)
    return sorted(sums, key=lambda id: (-sums[id], id))
