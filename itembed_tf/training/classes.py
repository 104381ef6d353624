"""Which class of the instance loss each group is: one of its own, or one of K clusters of look-alikes."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

ROUNDS = 20  # of Lloyd's algorithm
BLOCK = 4096  # groups whose distances are held at a time


def class_labels(features: np.ndarray, groups: np.ndarray, *, clusters: int, seed: int) -> np.ndarray:
    """The class of each group, int32 [G]: its own number, or its cluster by k-means (paper, table 4).

    A group lies at the mean of its pictures' features. Every class has at least one group. Groups of one class are no
    negatives of each other, in whatever loss.

    Args:
        features: of the frozen backbone, [n, F].
        groups: the group of each row, 0 to G - 1, [n].
        clusters: K; 0 gives every group a class of its own.
        seed: of the draw of the groups that the clusters start from.

    Raises:
        ValueError: more clusters than groups.
    """
    count = int(groups.max()) + 1
    if not clusters:
        return np.arange(count, dtype=np.int32)
    if clusters > count:
        raise ValueError(f"classes.clusters = {clusters}, but there are {count} groups; 0 makes each its own class")
    points = np.zeros((count, features.shape[1]), np.float32)
    np.add.at(points, groups, features)
    points /= np.bincount(groups, minlength=count)[:, None]
    centres = _far_apart(points, clusters, np.random.default_rng(seed))
    for _ in tqdm(range(ROUNDS), desc="k-means", unit=" rounds"):
        labels = _nearest_but_none_empty(points, centres)
        centres = np.zeros_like(centres)
        np.add.at(centres, labels, points)
        centres /= np.bincount(labels, minlength=clusters)[:, None]
    return _nearest_but_none_empty(points, centres)


def _far_apart(points: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Points to start from, each drawn by the square of its distance from those before (k-means++)."""
    chosen = [int(random.integers(len(points)))]
    squares = np.full(len(points), np.inf, np.float32)
    for _ in tqdm(range(count - 1), desc="k-means, start", unit=" clusters"):
        squares = np.minimum(squares, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        shares = np.cumsum(squares, dtype=np.float64)
        chosen.append(int(np.searchsorted(shares, random.random() * shares[-1], side="right")) % len(points))
    return points[chosen]


def _nearest_but_none_empty(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre of each point, int32; a centre that is none's takes the point that lies worst."""
    labels, far = np.empty(len(points), np.int32), np.empty(len(points), np.float32)
    squares = np.einsum("ij,ij->i", centres, centres)
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        distances = squares - 2 * block @ centres.T  # less the square of the point, the same for all centres
        rows = slice(start, start + len(block))
        labels[rows] = distances.argmin(axis=1)
        far[rows] = distances.min(axis=1) + np.einsum("ij,ij->i", block, block)
    counts = np.bincount(labels, minlength=len(centres))
    for centre in np.flatnonzero(counts == 0):
        worst = np.where(counts[labels] > 1, far, -np.inf).argmax()
        counts[labels[worst]] -= 1
        labels[worst], counts[centre] = centre, 1
    return labels
