"""Best rank of each query, in one or both directions, and the retrieval table of two embedding matrices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itembed_tf.retrieval.scores import (
    Groups,
    Scores,
    blocks,
    checked_pair,
    embedding_scores,
    group_indices,
    pair_scores,
)
from itembed_tf.retrieval.table import QueryFigures, RetrievalTable, rank_figures

OWN_BLOCK = 64  # images whose own captions are scored at a time; a larger block scores more pairs that are not used


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
        query_groups: n names (strings or integers); all items of a query's group are correct.
        item_groups: m names.
        block: queries, and items, scored at a time; memory grows with its square.

    Returns:
        int64 [n], 1 to m.

    Raises:
        ValueError: a shape does not fit, a row is zero, NaN or infinite, or a query has no correct item; the message
            says which.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, not {block}")
    names = ("queries", "items")
    left, right = checked_pair(queries, items, names)
    left_groups, right_groups = group_indices(query_groups, item_groups, (len(left), len(right)), names)
    return _two_way(pair_scores(left, right), left_groups, right_groups, block)[0]


def two_way_ranks(
    scores: Scores, image_groups: Groups, caption_groups: Groups
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`best_ranks` of the images among the captions, int64 [n], and of the captions among the images, int64 [m].

    Raises:
        ValueError: an image without a caption of its group, or a caption without an image; the message names the group.
    """
    counts = (len(scores.image_ties), len(scores.caption_ties))
    groups = group_indices(image_groups, caption_groups, counts, ("images", "captions"))
    group_indices(caption_groups, image_groups, counts[::-1], ("captions", "images"))
    return _two_way(scores, *groups, 1024)


def retrieval_table(
    images: ArrayLike,
    captions: ArrayLike,
    image_groups: Groups,
    caption_groups: Groups,
) -> RetrievalTable:
    """Recall@1, 5, 10, median and mean rank of both query directions, without intervals or chance level.

    A query counts as found at K when any item of its group is among the first K.

    Args:
        images: [n, D], captions: [m, D]; as for `best_ranks`.
        image_groups, caption_groups: the group of each row; groups may have any number of images and captions.

    Raises:
        ValueError: as `best_ranks`.
    """
    image_ranks, text_ranks = two_way_ranks(embedding_scores(images, captions), image_groups, caption_groups)
    return RetrievalTable(QueryFigures(rank_figures(image_ranks)), QueryFigures(rank_figures(text_ranks)))


def _two_way(
    scores: Scores, image_groups: NDArray[np.intp], caption_groups: NDArray[np.intp], block: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Best ranks of both directions; the rank of a row without a correct item is meaningless.

    Images and captions are visited in the order of their groups, so that correct pairs are near the diagonal.
    """
    orders = [np.argsort(groups, kind="stable") for groups in (image_groups, caption_groups)]
    (rows, columns), (own, other) = orders, (image_groups[orders[0]], caption_groups[orders[1]])
    best = [np.full(len(order), -np.inf, np.float32) for order in orders]
    for r, c in _diagonal(own, other, min(block, OWN_BLOCK), block):
        part = scores.block(rows[r], columns[c])
        part[own[r, None] != other[c]] = -np.inf
        np.maximum(best[0][r], part.max(axis=1), out=best[0][r])
        np.maximum(best[1][c], part.max(axis=0), out=best[1][c])
    thresholds = best[0] - scores.image_ties[rows], best[1] - scores.caption_ties[columns]
    ahead = [np.zeros(len(order), np.int64) for order in orders]
    for r in blocks(len(rows), block):
        for c in blocks(len(columns), block):
            part = scores.block(rows[r], columns[c])
            near = slice(*np.searchsorted(other[c], own[r][[0, -1]] + [0, 1]))
            part[:, near][own[r, None] == other[c][near]] = -np.inf
            ahead[0][r] += np.count_nonzero(part >= thresholds[0][r, None], axis=1)
            ahead[1][c] += np.count_nonzero(part >= thresholds[1][c], axis=0)
    ranks = np.empty(len(rows), np.int64), np.empty(len(columns), np.int64)
    ranks[0][rows], ranks[1][columns] = 1 + ahead[0], 1 + ahead[1]
    return ranks


def _diagonal(own: NDArray[np.intp], other: NDArray[np.intp], rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Blocks that cover all pairs of one group, of two ascending arrays of groups."""
    for r in blocks(len(own), rows):
        first, last = np.searchsorted(other, own[r][[0, -1]] + [0, 1])
        for c in blocks(last - first, columns):
            yield r, slice(first + c.start, first + c.stop)
