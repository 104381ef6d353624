"""Classes of the instance loss: each group its own class, or clusters of groups with similar images by k-means."""

from __future__ import annotations

import warnings

import numpy as np

from itembed_tf.progress import running_clock

ITERATIONS = 20  # of Lloyd's algorithm


def class_labels(features: np.ndarray, groups: np.ndarray, *, clusters: int, seed: int) -> np.ndarray:
    """The class of each group, int32 [G]: the group's own number, or its k-means cluster (paper, table 4).

    A group is clustered by the mean of its images' features. Every class has at least one group. No loss uses groups of
    one class as negatives of each other. The result depends on the arguments alone.

    Args:
        features: output of the frozen backbone, [n, F].
        groups: the group of each row, 0 to G - 1, [n].
        clusters: K; 0 gives every group its own class.
        seed: of the random initial clusters (k-means++).

    Raises:
        ValueError: more clusters than groups.
    """
    count = int(groups.max()) + 1
    if not clusters:
        return np.arange(count, dtype=np.int32)
    if clusters > count:
        raise ValueError(f"classes.clusters = {clusters}, but there are {count} groups; 0 gives each its own class")
    points = np.zeros((count, features.shape[1]), np.float32)
    np.add.at(points, groups, features)
    points /= np.bincount(groups, minlength=count)[:, None]
    with running_clock(f"k-means, {clusters:,} clusters of {count:,} groups"):
        labels, centres = _k_means(points, clusters, seed)
    return _without_empty_clusters(points, labels, centres)


def _k_means(points: np.ndarray, clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    model = KMeans(clusters, n_init=1, max_iter=ITERATIONS, random_state=seed)
    # One thread: several add up the means in the order in which they happen to finish, and results differ by rounding.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        model.fit(points)
    return model.labels_.astype(np.int32), model.cluster_centers_


def _without_empty_clusters(points: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Give each empty cluster the point that is farthest from its centre and not alone in its cluster."""
    counts = np.bincount(labels, minlength=len(centres))
    far = ((points - centres[labels]) ** 2).sum(axis=1)
    for cluster in np.flatnonzero(counts == 0):
        farthest = np.where(counts[labels] > 1, far, -np.inf).argmax()
        counts[labels[farthest]] -= 1
        labels[farthest], counts[cluster] = cluster, 1
    return labels
