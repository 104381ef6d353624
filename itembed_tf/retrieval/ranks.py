"""Scores and groups -> the rank of each query's best true item, both ways, and the table of recalls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itembed_tf.retrieval.scores import Groups, Scores, blocks, checked_sides, group_numbers, scores_of, scores_of_sides

OWN = 64  # pictures whose own captions are scored at a time; more would score pairs that are then not looked at

Table = dict[str, Any]


def best_ranks(
    queries: ArrayLike,
    items: ArrayLike,
    query_groups: Groups,
    item_groups: Groups,
    *,
    block: int = 1024,
) -> NDArray[np.int64]:
    """Rank of the best item of each query's own group, among the items of all other groups; 1 is first.

    Args:
        queries: [n, D], any float dtype; no row may be zero, NaN or infinite.
        items: [m, D], likewise.
        query_groups: n names (strings or integers): items of the same group are the true ones, however many.
        item_groups: m names.
        block: queries, and items, scored at a time; memory grows with its square.

    Returns:
        int64 [n], 1 to m.

    Raises:
        ValueError: a shape does not fit, a row is zero, NaN or infinite, or a query has no true item; says which.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, and is {block}")
    sides = ("queries", "items")
    left, right = checked_sides(queries, items, sides)
    wanted, offered = group_numbers(query_groups, item_groups, (len(left), len(right)), sides)
    return _two_way(scores_of_sides(left, right), wanted, offered, block)[0]


def two_way_ranks(
    scores: Scores, image_groups: Groups, caption_groups: Groups
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`best_ranks` of the pictures among the captions, int64 [n], and of the captions among the pictures, int64 [m].

    Raises:
        ValueError: a picture without a caption of its group, or the other way round; it names the group.
    """
    counts = (len(scores.image_ties), len(scores.caption_ties))
    numbers = group_numbers(image_groups, caption_groups, counts, ("images", "captions"))
    group_numbers(caption_groups, image_groups, counts[::-1], ("captions", "images"))
    return _two_way(scores, *numbers, 1024)


def retrieval_table(
    images: ArrayLike,
    captions: ArrayLike,
    image_groups: Groups,
    caption_groups: Groups,
) -> Table:
    """Recall@1, 5, 10 in percent, median and mean rank both ways, and rsum, the sum of the six recalls.

    A query is found at K when any true item is among the first K. MedR is the smallest K with strictly more than half
    of the queries found (released code), which is not the median where the middle ranks differ. MeanR is the mean of
    the best ranks.

    Args:
        images: [n, D], captions: [m, D]; as for `best_ranks`.
        image_groups, caption_groups: the group of each row; groups may have any number of images and captions.

    Returns:
        {"image_query": {"R@1", "R@5", "R@10", "MedR", "MeanR"}, "text_query": the same, "rsum"}; an image query looks
        for captions.

    Raises:
        ValueError: as `best_ranks`.
    """
    image_ranks, text_ranks = two_way_ranks(scores_of(images, captions), image_groups, caption_groups)
    table: Table = {"image_query": recalls(image_ranks), "text_query": recalls(text_ranks)}
    return {**table, "rsum": rsum(table)}


def recalls(ranks: NDArray[np.int64]) -> dict[str, float]:
    """R@1, R@5, R@10, MedR and MeanR, as `retrieval_table` has them, of best ranks."""
    found = {f"R@{k}": float(100 * np.mean(ranks <= k)) for k in (1, 5, 10)}
    # sorted, the element after the first half is the first K at which more than half of the queries are found
    return {**found, "MedR": float(np.sort(ranks)[len(ranks) // 2]), "MeanR": float(ranks.mean())}


def rsum(table: Table, queries: Iterable[str] = ("image_query", "text_query")) -> float:
    """The six recalls of a table, added up; or those of some queries alone."""
    return sum(table[query][f"R@{k}"] for query in queries for k in (1, 5, 10))


def _two_way(
    scores: Scores, image_groups: NDArray[np.intp], caption_groups: NDArray[np.intp], block: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Best ranks of both sides; a row without a true item gets a rank that means nothing.

    Both sides are gone through in the order of their groups, so that what is true lies near the diagonal.
    """
    orders = [np.argsort(groups, kind="stable") for groups in (image_groups, caption_groups)]
    (rows, columns), (own, other) = orders, (image_groups[orders[0]], caption_groups[orders[1]])
    best = [np.full(len(order), -np.inf, np.float32) for order in orders]
    for r, c in _diagonal(own, other, min(block, OWN), block):
        found = scores.block(rows[r], columns[c])
        found[own[r, None] != other[c]] = -np.inf
        np.maximum(best[0][r], found.max(axis=1), out=best[0][r])
        np.maximum(best[1][c], found.max(axis=0), out=best[1][c])
    least = best[0] - scores.image_ties[rows], best[1] - scores.caption_ties[columns]
    ahead = [np.zeros(len(order), np.int64) for order in orders]
    for r in blocks(len(rows), block):
        for c in blocks(len(columns), block):
            found = scores.block(rows[r], columns[c])
            near = slice(*np.searchsorted(other[c], own[r][[0, -1]] + [0, 1]))
            found[:, near][own[r, None] == other[c][near]] = -np.inf
            ahead[0][r] += np.count_nonzero(found >= least[0][r, None], axis=1)
            ahead[1][c] += np.count_nonzero(found >= least[1][c], axis=0)
    ranks = np.empty(len(rows), np.int64), np.empty(len(columns), np.int64)
    ranks[0][rows], ranks[1][columns] = 1 + ahead[0], 1 + ahead[1]
    return ranks


def _diagonal(own: NDArray[np.intp], other: NDArray[np.intp], rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Blocks that hold all pairs of one group, of two ascending lists of groups."""
    for r in blocks(len(own), rows):
        first, last = np.searchsorted(other, own[r][[0, -1]] + [0, 1])
        for c in blocks(last - first, columns):
            yield r, slice(first + c.start, first + c.stop)
