"""What single queries find: sampled and worst queries, each with its first answers and the right one marked."""

from __future__ import annotations

from typing import Any

import numpy as np

from itembed_tf.retrieval import best_ranks, top_k


def query_ranks(
    queries: np.ndarray, items: np.ndarray, query_groups: np.ndarray, item_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Queries that have a right item in the gallery, and the best rank of each (1 = first); both int64 [n]."""
    able = np.flatnonzero(np.isin(query_groups, item_groups))
    if not len(able):
        return able, np.zeros(0, np.int64)
    return able, best_ranks(queries[able], items, query_groups[able], item_groups)


def sample(able: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw queries at random, of different groups while there are enough; in the order of the gallery."""
    order = np.random.default_rng(seed).permutation(able)
    return np.sort(_one_a_group(order, groups, count))


def worst(able: np.ndarray, ranks: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Queries with the largest ranks, one of each group, worst first; none whose right item came first."""
    order = np.argsort(-ranks, kind="stable")
    return _one_a_group(able[order[ranks[order] > 1]], groups, count)


def _one_a_group(order: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    first = np.sort(np.unique(groups[order], return_index=True)[1])
    return order[first[:count]]


def strips(
    chosen: np.ndarray,
    queries: np.ndarray,
    items: np.ndarray,
    query_groups: np.ndarray,
    item_groups: np.ndarray,
    able: np.ndarray,
    ranks: np.ndarray,
    count: int,
) -> list[dict[str, Any]]:
    """The first `count` answers to each chosen query.

    Returns:
        One dict a query: "query" (its row), "rank" (best rank of a right item), "hits" (list of {"item", "place",
        "score", "right"}), and "missed": such a dict of the best right item where the hits hold none, else None.
    """
    if not len(chosen):
        return []
    indices, scores = top_k(queries[chosen], items, min(count, len(items)))
    rank_of = dict(zip(able.tolist(), ranks.tolist(), strict=True))
    result = []
    for row, query in enumerate(chosen.tolist()):
        hits = [
            _hit(item, place, score, item_groups[item] == query_groups[query])
            for place, (item, score) in enumerate(zip(indices[row], scores[row], strict=True), start=1)
        ]
        missed = None
        if not any(hit["right"] for hit in hits):
            own = np.flatnonzero(item_groups == query_groups[query])
            own_scores = items[own] @ queries[query]
            best = int(own_scores.argmax())
            missed = _hit(own[best], rank_of[query], own_scores[best], True)
        result.append({"query": query, "rank": rank_of[query], "hits": hits, "missed": missed})
    return result


def _hit(item: Any, place: int, score: Any, right: Any) -> dict[str, Any]:
    return {"item": int(item), "place": place, "score": float(score), "right": bool(right)}
