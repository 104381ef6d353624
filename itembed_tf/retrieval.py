"""Two matrices of embeddings -> who finds whom: ranks, Recall@K, nearest neighbours (NumPy).

Scores are dot products of float32 rows, so cosines where the rows have unit length, as an encoder gives them. They are
computed block by block: memory does not grow with the square of the gallery.

**Ties count against us.** An item of another group that scores as high as the best true item is ranked before it, so
that a collapsed encoder gets the worst ranks and not the best. Rounding must not break a tie in our favour: one vector
at two places of the gallery can score differently in the last bits, as matrix products add in an order that depends on
the shape of the block (up to 8 float32 ulps of 1 were measured for widths up to 2,048). Scores closer than `TIE` times
the lengths of the two rows therefore count as equal, which costs at most a rank where neighbours are that dense.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIE = 16 * 2.0**-23  # 16 float32 ulps of 1, about 1.9e-6

Table = dict[str, Any]


def best_ranks(
    queries: ArrayLike,
    items: ArrayLike,
    query_groups: Sequence[Any] | NDArray[Any],
    item_groups: Sequence[Any] | NDArray[Any],
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
    return _best_ranks(queries, items, query_groups, item_groups, block, ("queries", "items"))


def retrieval_table(
    images: ArrayLike,
    captions: ArrayLike,
    image_groups: Sequence[Any] | NDArray[Any],
    caption_groups: Sequence[Any] | NDArray[Any],
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
    image_ranks = _best_ranks(images, captions, image_groups, caption_groups, 1024, ("images", "captions"))
    text_ranks = _best_ranks(captions, images, caption_groups, image_groups, 1024, ("captions", "images"))
    table: Table = {"image_query": _summary(image_ranks), "text_query": _summary(text_ranks)}
    table["rsum"] = sum(value for side in table.values() for name, value in side.items() if name.startswith("R@"))
    return table


def top_k(
    queries: ArrayLike, items: ArrayLike, k: int, *, block: int = 1024
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k items of the highest score for each query, best first; of equal scores the lower index first.

    Args:
        queries: [n, D], items: [m, D]; as for `best_ranks`.
        k: 1 to m.
        block: queries, and items, scored at a time.

    Returns:
        (indices int64 [n, k], scores float32 [n, k]).

    Raises:
        ValueError: a shape or `k` does not fit, or a row is zero, NaN or infinite; says which.
    """
    queries, items = _sides(queries, items, block, ("queries", "items"))
    if not 1 <= k <= len(items):
        raise ValueError(f"k must be from 1 to the number of items, {len(items)}, and is {k}")
    found = np.empty((len(queries), k), np.int64)
    for rows in _blocks(len(queries), block):
        best = np.empty((rows.stop - rows.start, 0), np.int64)
        for columns in _blocks(len(items), block):
            keys = _keys(queries[rows] @ items[columns].T, columns.start)
            best = np.concatenate([best, keys], axis=1)
            if best.shape[1] > k:
                best = np.partition(best, best.shape[1] - k, axis=1)[:, -k:]
        found[rows] = -np.sort(-best, axis=1)
    return 0xFFFFFFFF - (found & 0xFFFFFFFF), _scores_of(found)


def _best_ranks(
    queries: ArrayLike,
    items: ArrayLike,
    query_groups: Sequence[Any] | NDArray[Any],
    item_groups: Sequence[Any] | NDArray[Any],
    block: int,
    sides: tuple[str, str],
) -> NDArray[np.int64]:
    """`best_ranks`, with the names that errors give to the two sides."""
    queries, items = _sides(queries, items, block, sides)
    wanted, offered = _group_numbers(query_groups, item_groups, (len(queries), len(items)), sides)
    tie = np.float32(TIE) * _lengths(queries) * _lengths(items).max()
    ranks = np.empty(len(queries), np.int64)
    for rows in _blocks(len(queries), block):
        query, group = queries[rows], wanted[rows, None]
        best = np.full(len(query), -np.inf, np.float32)
        own = np.flatnonzero(np.isin(offered, group))  # only the items that are true for a query of this block
        for part in _blocks(len(own), block):
            scores = query @ items[own[part]].T
            scores[group != offered[own[part]]] = -np.inf
            np.maximum(best, scores.max(axis=1), out=best)
        ahead = np.zeros(len(query), np.int64)
        for columns in _blocks(len(items), block):
            before = query @ items[columns].T >= (best - tie[rows])[:, None]
            before &= group != offered[columns]
            ahead += np.count_nonzero(before, axis=1)
        ranks[rows] = 1 + ahead
    return ranks


def _summary(ranks: NDArray[np.int64]) -> dict[str, float]:
    recalls = {f"R@{k}": float(100 * np.mean(ranks <= k)) for k in (1, 5, 10)}
    # sorted, the element after the first half is the first K at which more than half of the queries are found
    return {**recalls, "MedR": float(np.sort(ranks)[len(ranks) // 2]), "MeanR": float(ranks.mean())}


def _blocks(count: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, count)) for start in range(0, count, block))


def _lengths(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sqrt(np.einsum("ij,ij->i", matrix, matrix))


def _sides(
    queries: ArrayLike, items: ArrayLike, block: int, sides: tuple[str, str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both matrices as float32, after every row was found usable."""
    left, right = (_embeddings(matrix, side) for matrix, side in zip((queries, items), sides))
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"{sides[0]} and {sides[1]} must be equally wide, and are {left.shape[1]} and {right.shape[1]} wide: "
            "do they come from the two encoders of one run?"
        )
    if block < 1:
        raise ValueError(f"block must be at least 1, and is {block}")
    return left, right


def _embeddings(matrix: ArrayLike, side: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is too large for float32 becomes inf here and is named below
        checked = np.asarray(matrix, dtype=np.float32)
        if checked.ndim != 2 or not checked.size:
            raise ValueError(f"{side} must be a matrix [rows, D] with at least one row, and has shape {checked.shape}")
        lengths = _lengths(checked)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        row = checked[bad[0]]
        what = "NaN" if np.isnan(row).any() else "infinite or too large" if lengths[bad[0]] else "zero"
        raise ValueError(
            f"{side} row {bad[0]} is {what} ({len(bad)} such rows of {len(checked)}): it has no direction and cannot "
            "be ranked. Look for a diverged training run, or for an empty input."
        )
    return checked


def _group_numbers(
    query_groups: Sequence[Any] | NDArray[Any],
    item_groups: Sequence[Any] | NDArray[Any],
    counts: tuple[int, int],
    sides: tuple[str, str],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Groups as numbers that both sides share, after every query was found to have a true item."""
    groups = (np.asarray(query_groups), np.asarray(item_groups))
    for names, count, side in zip(groups, counts, sides):
        if names.shape != (count,):
            raise ValueError(f"{side} has {count} rows, so its groups must have shape ({count},), not {names.shape}")
    names, numbers = np.unique(np.concatenate(groups), return_inverse=True)
    wanted, offered = numbers[: counts[0]], numbers[counts[0] :]
    alone = np.flatnonzero(~np.isin(wanted, offered))
    if len(alone):
        raise ValueError(
            f"{sides[0]} row {alone[0]} is of group {names[wanted[alone[0]]]!r}, of which there is no row in "
            f"{sides[1]} ({len(alone)} such rows): leave it out, or add what it should find."
        )
    return wanted, offered


def _keys(scores: NDArray[np.float32], first: int) -> NDArray[np.int64]:
    """One integer a score, all different, in the order of the answer: by score, then by index downwards.

    The upper half is the score's bits, made to sort as integers do; the lower half counts down with the index. So a
    partition at k is free of ties, and what it leaves does not depend on its algorithm.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes -0.0 the same as 0.0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # negative floats sort backwards as integers
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= 0xFFFFFFFF - np.arange(first, first + scores.shape[1], dtype=np.int64)
    return keys


def _scores_of(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    bits = (keys >> 32).astype(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    return bits.view(np.float32)
