"""Canonical correlation analysis (CCA) of paired rows (NumPy and SciPy only).

Rows are read in batches and need not fit in memory. The covariances must: 8 bytes times the squared width of a side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, eigh
from scipy.sparse.linalg import eigsh


@dataclass(frozen=True)
class Moments:
    """Means and covariances of paired rows, float64."""

    count: int
    x_mean: np.ndarray  # [F]
    y_mean: np.ndarray  # [G]
    xx: np.ndarray  # [F, F], covariance
    yy: np.ndarray  # [G, G]
    xy: np.ndarray  # [F, G]


@dataclass(frozen=True)
class LinearMap:
    """rows @ kernel + bias, the weights of a dense layer."""

    kernel: np.ndarray  # float32 [F, size]
    bias: np.ndarray  # float32 [size]


def moments(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Moments:
    """Means and covariances of paired rows [n, F] and [n, G], one batch at a time.

    Parallel algorithm of Chan, Golub and LeVeque: large means cause no cancellation, and the batch size has no
    influence.

    Raises:
        ValueError: fewer than two rows, or sides of different length.
    """
    count, mean, total = 0, np.zeros(0), np.zeros((0, 0))
    width = 0
    for x, y in batches:
        if len(x) != len(y):
            raise ValueError(f"a batch has {len(x)} rows on one side and {len(y)} on the other; both must be equal")
        both = np.concatenate([x, y], axis=1, dtype=np.float64)
        if not count:
            width, mean, total = x.shape[1], np.zeros(both.shape[1]), np.zeros((both.shape[1],) * 2)
        if not len(both):
            continue
        of_batch = both.mean(axis=0)
        both -= of_batch
        off = of_batch - mean
        total += both.T @ both
        total += np.outer(off, off * (count * len(both) / (count + len(both))))
        mean += off * (len(both) / (count + len(both)))
        count += len(both)
    if count < 2:
        raise ValueError(f"covariances need at least 2 pairs of rows, got {count}")
    total /= count
    return Moments(
        count, mean[:width], mean[width:], total[:width, :width], total[width:, width:], total[:width, width:]
    )


def cca(found: Moments, *, size: int, regularisation: float) -> tuple[LinearMap, LinearMap, np.ndarray]:
    """CCA projections scaled by their correlations (Klein et al., CVPR 2015); the cosine is the similarity.

    A covariance C becomes C + (regularisation x its largest
    eigenvalue + 1e-8) I, as in the paper's code; before scaling, each direction has variance 1.

    Args:
        found: moments of the training pairs.
        size: number of directions, highest correlations first.
        regularisation: eta; the paper's code uses 1e-3 in its example and 5e-5 for COCO. Choose it on dev.

    Returns:
        The map of x, the map of y, and the correlations, float64 [size], descending. Signs are fixed: the largest
        component of each direction of x is positive.

    Raises:
        ValueError: `size` exceeds the width of the narrower side, or a covariance is singular after regularisation.
    """
    narrow = min(len(found.x_mean), len(found.y_mean))
    if size > narrow:
        raise ValueError(
            f"CCA of {len(found.x_mean)} and {len(found.y_mean)} dimensions has {narrow} directions, "
            f"embedding_size is {size}; set embedding_size to {narrow} or less"
        )
    xx, yy = _regularised(found.xx, regularisation), _regularised(found.yy, regularisation)
    if _is_singular(xx) or _is_singular(yy):
        raise ValueError(
            f"CCA: a covariance is singular with cca.regularisation = {regularisation}; raise it, for example to 1e-4"
        )
    if len(xx) <= len(yy):
        x, y, correlations = _directions(xx, yy, found.xy, size)
    else:
        y, x, correlations = _directions(yy, xx, found.xy.T, size)
    signs = np.sign(x[np.abs(x).argmax(axis=0), np.arange(size)])
    return (
        _linear_map(x * signs * correlations, found.x_mean),
        _linear_map(y * signs * correlations, found.y_mean),
        correlations,
    )


def _regularised(covariance: np.ndarray, regularisation: float) -> np.ndarray:
    if len(covariance) > 1:
        start = np.ones(len(covariance))  # fixed, for reproducibility
        largest = eigsh(covariance, k=1, v0=start, return_eigenvectors=False)[0]
    else:
        largest = covariance[0, 0]
    return covariance + (regularisation * largest + 1e-8) * np.eye(len(covariance))


def _is_singular(covariance: np.ndarray) -> bool:
    """Whether a direction's variance is below the rounding error of float64."""
    try:
        factor = np.diag(cholesky(covariance, lower=True))
    except LinAlgError:
        return True
    return bool((factor.min() / factor.max()) ** 2 < 1e-14)


def _directions(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve xy yy^-1 yx v = r^2 xx v on x, the narrower side: directions [F, size], [G, size] and correlations."""
    by_y = cho_solve(cho_factor(yy), xy.T)  # yy^-1 yx: [G, F]
    shared = xy @ by_y
    last = len(xx) - 1
    squares, x = eigh((shared + shared.T) / 2, xx, subset_by_index=[last - size + 1, last])
    correlations, x = np.sqrt(np.maximum(squares[::-1], 0)), x[:, ::-1]
    return x, by_y @ x / np.maximum(correlations, 1e-12), correlations


def _linear_map(kernel: np.ndarray, mean: np.ndarray) -> LinearMap:
    return LinearMap(kernel.astype(np.float32), -(mean @ kernel).astype(np.float32))
