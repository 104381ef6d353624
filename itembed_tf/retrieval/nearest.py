"""Exact nearest neighbours by dot product."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itembed_tf.retrieval.scores import blocks, checked_pair


def top_k(
    queries: ArrayLike, items: ArrayLike, k: int, *, block: int = 1024
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k items with the highest score for each query, best first; equal scores are ordered by index.

    Args:
        queries: [n, D], items: [m, D]; as for `best_ranks`.
        k: 1 to m.
        block: queries, and items, scored at a time.

    Returns:
        (indices int64 [n, k], scores float32 [n, k]).

    Raises:
        ValueError: a shape or `k` does not fit, or a row is zero, NaN or infinite; the message says which.
    """
    queries, items = checked_pair(queries, items, ("queries", "items"))
    if block < 1:
        raise ValueError(f"block must be at least 1, not {block}")
    if not 1 <= k <= len(items):
        raise ValueError(f"k must be from 1 to the number of items, {len(items)}, not {k}")
    top_keys = np.empty((len(queries), k), np.int64)
    for rows in blocks(len(queries), block):
        best = np.empty((rows.stop - rows.start, 0), np.int64)
        for columns in blocks(len(items), block):
            keys = _keys(queries[rows] @ items[columns].T, columns.start)
            best = np.concatenate([best, keys], axis=1)
            if best.shape[1] > k:
                best = np.partition(best, best.shape[1] - k, axis=1)[:, -k:]
        top_keys[rows] = -np.sort(-best, axis=1)
    return 0xFFFFFFFF - (top_keys & 0xFFFFFFFF), _scores_from_keys(top_keys)


def _keys(scores: NDArray[np.float32], first: int) -> NDArray[np.int64]:
    """One distinct integer per score, ordered by score and then by descending index.

    The upper half holds the bits of the score, mapped so that they sort as integers; the lower half counts down with
    the index. A partition at k therefore has no ties, and its result does not depend on its algorithm.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # negative floats sort in reverse as integers
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= 0xFFFFFFFF - np.arange(first, first + scores.shape[1], dtype=np.int64)
    return keys


def _scores_from_keys(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    bits = (keys >> 32).astype(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    return bits.view(np.float32)
