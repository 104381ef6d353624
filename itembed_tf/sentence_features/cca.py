"""Canonical correlation analysis: the linear maps of two sides of pairs under which their rows correlate most.

Rows come in batches and need not fit in memory; covariances do: 8 bytes times the square of a side's width. NumPy and
SciPy alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, eigh
from scipy.sparse.linalg import eigsh


@dataclass(frozen=True)
class Moments:
    """What pairs of rows leave behind, float64."""

    count: int
    x_mean: np.ndarray  # [F]
    y_mean: np.ndarray  # [G]
    xx: np.ndarray  # [F, F], covariance
    yy: np.ndarray  # [G, G]
    xy: np.ndarray  # [F, G]


@dataclass(frozen=True)
class LinearMap:
    """rows @ kernel + bias, as a layer "fc" holds it."""

    kernel: np.ndarray  # float32 [F, size]
    bias: np.ndarray  # float32 [size]


def moments(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Moments:
    """Means and covariances of pairs of rows [n, F] and [n, G], one batch at a time.

    Each batch is centred by itself and its mean's distance is added (Chan, Golub and LeVeque): large means cost no
    digits, and the size of the batches does not matter.

    Raises:
        ValueError: fewer than two rows, or sides of different length.
    """
    count, mean, total = 0, np.zeros(0), np.zeros((0, 0))
    width = 0
    for x, y in batches:
        if len(x) != len(y):
            raise ValueError(f"a batch has {len(x)} rows on one side and {len(y)} on the other: they are to be pairs")
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
        raise ValueError(f"covariances take two pairs of rows at least, and there are {count}")
    total /= count
    return Moments(
        count, mean[:width], mean[width:], total[:width, :width], total[width:, width:], total[:width, width:]
    )


def cca(found: Moments, *, size: int, regularisation: float) -> tuple[LinearMap, LinearMap, np.ndarray]:
    """Centre, project on the canonical directions, scale each by its correlation (Klein et al., CVPR 2015).

    The cosine of both sides' rows is then the similarity. A covariance C becomes C + (regularisation x its largest
    eigenvalue + 1e-8) I, as in that paper's code; before the scaling each direction has variance 1 under it.

    Args:
        found: of the training pairs.
        size: directions kept, those of the highest correlations.
        regularisation: eta; that code's example has 1e-3, its models for COCO 5e-5. To be chosen on dev.

    Returns:
        The map of x, that of y, and the correlations, float64 [size], falling. Each direction of x has its largest
        number positive.

    Raises:
        ValueError: more directions than the narrower side has numbers, or covariances that regularisation leaves
            singular.
    """
    narrow = min(len(found.x_mean), len(found.y_mean))
    if size > narrow:
        raise ValueError(
            f"CCA of {len(found.x_mean)} and {len(found.y_mean)} numbers has {narrow} directions, and embedding_size "
            f"is {size}: set embedding_size to {narrow} or less"
        )
    xx, yy = _regularised(found.xx, regularisation), _regularised(found.yy, regularisation)
    if _is_singular(xx) or _is_singular(yy):
        raise ValueError(f"CCA: a covariance is singular with regularisation {regularisation}: raise it, say to 1e-4")
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
        start = np.ones(len(covariance))  # the same at every run
        largest = eigsh(covariance, k=1, v0=start, return_eigenvectors=False)[0]
    else:
        largest = covariance[0, 0]
    return covariance + (regularisation * largest + 1e-8) * np.eye(len(covariance))


def _is_singular(covariance: np.ndarray) -> bool:
    """Whether float64 cannot tell a direction's variance from rounding."""
    try:
        factor = np.diag(cholesky(covariance, lower=True))
    except LinAlgError:
        return True
    return bool((factor.min() / factor.max()) ** 2 < 1e-14)


def _directions(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions [F, size], [G, size] and correlations: of xy yy^-1 yx v = r^2 xx v, solved on x, the narrower side."""
    by_y = cho_solve(cho_factor(yy), xy.T)  # yy^-1 yx: [G, F]
    shared = xy @ by_y
    last = len(xx) - 1
    squares, x = eigh((shared + shared.T) / 2, xx, subset_by_index=[last - size + 1, last])
    correlations, x = np.sqrt(np.maximum(squares[::-1], 0)), x[:, ::-1]
    return x, by_y @ x / np.maximum(correlations, 1e-12), correlations


def _linear_map(kernel: np.ndarray, mean: np.ndarray) -> LinearMap:
    return LinearMap(kernel.astype(np.float32), -(mean @ kernel).astype(np.float32))
