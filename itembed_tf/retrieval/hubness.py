"""Hubness correction by nearest-neighbour normalisation (NNN, Chowdhury et al., arXiv 2410.24114, equations 1 and 2).

In a high-dimensional space some gallery items, the hubs, are near many queries, and rank too high for most of them. The
correction subtracts from the cosine of each item a bias that says how near the item is to queries in general:

    score = cosine - b,    b = a * (mean of the k highest cosines of the item with a bank of training queries)

The bias belongs to the item, not to the query. It can be stored as one more dimension, -b, which a query meets with a
1, so that any inner-product index serves corrected scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.retrieval.ranks import two_way_ranks
from itembed_tf.retrieval.scores import Groups, blocks, matrix_scores
from itembed_tf.retrieval.table import CUTOFFS

A_VALUES = (0.0, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
K_VALUES = (4, 8, 16, 32, 64, 128)
BLOCK = 2048  # items, and rows of the bank, whose cosines are computed at a time
SAME = 0.999  # cosine from which two images count as the same: the rounding to float16 takes less than 1e-6


@dataclass(frozen=True)
class Correction:
    """The strength `a` of the correction, 0 for none, and the number `k` of nearest queries."""

    a: float
    k: int


@dataclass(frozen=True, eq=False)
class Bank:
    """Embeddings of training queries of one side.

    Attributes:
        vectors: float16 or float32 [m, D], unit length.
        groups: int32 [m], the training group of each row.
    """

    vectors: NDArray[np.floating]
    groups: NDArray[np.int32]


@dataclass(frozen=True)
class Choice:
    """The correction that ranks best, with the sum of R@1, R@5 and R@10 in percent without and with it."""

    correction: Correction
    plain: float
    corrected: float


def biases(
    items: NDArray[np.floating], bank: Bank, correction: Correction, own: NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """What the correction subtracts from the cosine of each item with any query.

    Args:
        items: [n, D], unit length.
        bank: queries of the other side; for a search of images by an image, images.
        correction: `a` and `k`; where the bank has fewer rows than `k`, all count.
        own: [n], the training group to which an item belongs (`own_groups`), -1 for none. Its rows of the bank are left
            out: the encoders have learned to put them close to the item, which says nothing about other queries.

    Returns:
        float32 [n], 0 where `a` is 0.
    """
    if not correction.a:
        return np.zeros(len(items), np.float32)
    means = neighbour_means(items, bank, (correction.k,), own)[:, 0]
    return np.float32(correction.a) * means


def neighbour_means(
    items: NDArray[np.floating], bank: Bank, counts: Sequence[int], own: NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """Mean of the k highest cosines of each item with the bank, for several k; arguments as for `biases`.

    Returns:
        float32 [n, len(counts)].

    Raises:
        ValueError: an empty bank, vectors of different lengths, or a `k` below 1.
    """
    if not len(bank.vectors) or items.ndim != 2 or items.shape[1] != bank.vectors.shape[1]:
        raise ValueError(f"items {items.shape} and bank {bank.vectors.shape} must be [n, D] and [m, D], m at least 1")
    if min(counts) < 1:
        raise ValueError(f"k must be at least 1, not {min(counts)}")
    most, vectors = min(max(counts), len(bank.vectors)), np.asarray(bank.vectors, np.float32)
    means = np.empty((len(items), len(counts)), np.float32)
    for rows in blocks(len(items), BLOCK):
        queries = np.asarray(items[rows], np.float32)
        best = np.full((len(queries), 0), -np.inf, np.float32)
        for columns in blocks(len(vectors), 2 * BLOCK):
            cosines = queries @ vectors[columns].T
            if own is not None:
                cosines[own[rows][:, None] == bank.groups[columns]] = -np.inf
            if cosines.shape[1] > most:
                cosines = np.partition(cosines, cosines.shape[1] - most, axis=1)[:, -most:]
            best = np.concatenate([best, cosines], axis=1)
            if best.shape[1] > most:
                best = np.partition(best, best.shape[1] - most, axis=1)[:, -most:]
        means[rows] = _means_of_highest(-np.sort(-best, axis=1), counts)
    return means


def _means_of_highest(best: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float32]:
    """Means of the first k columns, for several k; -inf columns, which were left out, do not count."""
    present = np.isfinite(best)
    sums = np.cumsum(np.where(present, best, 0), axis=1, dtype=np.float64)
    number = np.maximum(np.cumsum(present, axis=1), 1)
    columns = [min(k, best.shape[1]) - 1 for k in counts]
    return (sums[:, columns] / number[:, columns]).astype(np.float32)


def own_groups(images: NDArray[np.floating], bank: Bank) -> NDArray[np.int32]:
    """The training group of each image that is itself in a bank of images, int32 [n]; -1 for one that is not."""
    groups, vectors = np.full(len(images), -1, np.int32), np.asarray(bank.vectors, np.float32)
    for rows in blocks(len(images), BLOCK):
        cosines = np.asarray(images[rows], np.float32) @ vectors.T
        nearest = cosines.argmax(axis=1)
        same = cosines[np.arange(len(nearest)), nearest] >= SAME
        groups[rows][same] = bank.groups[nearest[same]]
    return groups


def choose_correction(
    queries: NDArray[np.floating],
    items: NDArray[np.floating],
    query_groups: Groups,
    item_groups: Groups,
    bank: Bank,
    *,
    a_values: Sequence[float] = A_VALUES,
    k_values: Sequence[int] = K_VALUES,
) -> Choice:
    """`a` and `k` with the highest sum of R@1, R@5 and R@10 of the queries; of equal sums, the smallest a, then k.

    Args:
        queries: [n, D], items: [m, D], unit length; 0 for a text without a known word.
        query_groups, item_groups: the group of each; an item of a query's group is correct.
        bank: training queries of the side of `queries`.
        a_values, k_values: to choose from; 0 is tried in any case.

    Raises:
        ValueError: a query without an item of its group, or an item without a query.
    """
    cosines = np.asarray(queries, np.float32) @ np.asarray(items, np.float32).T
    means = neighbour_means(items, bank, k_values)
    plain = recall_sum(cosines, query_groups, item_groups)
    best = Choice(Correction(0.0, k_values[0]), plain, plain)
    for a in sorted(set(a_values) - {0.0}):
        for k, mean in zip(k_values, means.T):
            found = recall_sum(cosines - np.float32(a) * mean, query_groups, item_groups)
            if found > best.corrected:
                best = Choice(Correction(a, k), plain, found)
    return best


def recall_sum(scores: NDArray[np.float32], query_groups: Groups, item_groups: Groups) -> float:
    """R@1 + R@5 + R@10 in percent of queries with items, from their scores float32 [n, m]."""
    ranks, _ = two_way_ranks(matrix_scores(scores), query_groups, item_groups)
    return float(sum(100 * np.mean(ranks <= k) for k in CUTOFFS))
