"""Hybrid Gaussian-Laplacian mixture model (HGLMM) of word vectors, fitted by EM (Klein et al., CVPR 2015).

Each dimension of each component is Gaussian or Laplacian, whichever fits its words better. `layers.FisherVector`
computes the gradients of the mixture.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

ITERATIONS = 10  # EM iterations (public code hglmm_fv)
MAX_WORDS = 300_000  # words used for fitting (public code)
LENGTH = 10.0  # length of every word vector after rotation (public code)
MIN_SCALE = 1e-3  # minimum scale of a component, relative to the standard deviation of the dimension


@dataclass(frozen=True)
class Mixture:
    """K components in d dimensions, float64.

    Attributes:
        weights: of the components, [K], sum 1.
        location: mean (Gaussian) or weighted median (Laplacian), [K, d].
        scale: standard deviation, or mean absolute deviation from the median, [K, d].
        laplacian: True where the dimension is Laplacian, bool [K, d].
    """

    weights: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    laplacian: np.ndarray


def rotate(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Rotate word vectors [n, d] to independent axes: L2-normalise, FastICA, scale to `LENGTH`; zero rows stay zero.

    Raises:
        ValueError: fewer words than dimensions.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = lengths[:, 0] > 0
    words = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float64)
    if known.sum() <= vectors.shape[1]:
        raise ValueError(
            f"{known.sum()} words with a vector are too few for FastICA with {vectors.shape[1]} axes; set "
            'sentence.kind = "mean" or "tf-idf"'
        )
    sample = _sample(words[known], seed)
    ica = FastICA(whiten="unit-variance", max_iter=200, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        # Convergence does not matter: the axes of the last iteration serve as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica.fit(sample)
    rotated = ica.transform(words)
    rotated *= LENGTH / np.maximum(np.linalg.norm(rotated, axis=1, keepdims=True), 1e-12)
    return np.where(known[:, None], rotated, 0.0)


def fit_mixture(x: np.ndarray, *, components: int, seed: int) -> Mixture:
    """Fit the mixture to vectors [n, d] by EM, initialised by k-means; more than `MAX_WORDS` vectors are sampled.

    Raises:
        ValueError: fewer vectors than components.
    """
    from sklearn.cluster import KMeans

    x = _sample(np.asarray(x, np.float64), seed)
    if len(x) < components:
        raise ValueError(
            f"sentence.components is {components}, but only {len(x)} words have a vector; use fewer components"
        )
    labels = KMeans(components, n_init=1, max_iter=20, random_state=seed).fit_predict(x)
    mixture = maximise(x, np.eye(components)[labels])
    for _ in range(ITERATIONS):
        mixture = maximise(x, posteriors(x, mixture))
    return mixture


def maximise(x: np.ndarray, shares: np.ndarray) -> Mixture:
    """M step: the maximum-likelihood mixture of vectors [n, d] given posteriors [n, K]."""
    counts = np.maximum(shares.sum(axis=0), 1e-10)[:, None]  # [K, 1]
    minimum = MIN_SCALE * np.maximum(x.std(axis=0), 1e-12)
    mean = shares.T @ x / counts
    deviation = np.maximum(np.sqrt(np.maximum(shares.T @ x**2 / counts - mean**2, 0)), minimum)
    median, spread = np.empty_like(mean), np.empty_like(mean)
    for j in range(x.shape[1]):
        column = x[:, j]
        order = np.argsort(column, kind="stable")
        below = np.cumsum(shares[order], axis=0)  # [n, K]
        middle = np.minimum((below < counts[:, 0] / 2).sum(axis=0), len(x) - 1)
        median[:, j] = column[order[middle]]
        spread[:, j] = np.einsum("nk,nk->k", shares, np.abs(column[:, None] - median[:, j])) / counts[:, 0]
    spread = np.maximum(spread, minimum)
    # Mean log-likelihoods at these optima: -log(2 s) - 1 and -log(2 pi v) / 2 - 1 / 2.
    laplacian = np.log(2 * spread) + 0.5 < np.log(2 * math.pi * deviation**2) / 2
    return Mixture(
        counts[:, 0] / counts.sum(),
        np.where(laplacian, median, mean),
        np.where(laplacian, spread, deviation),
        laplacian,
    )


def posteriors(x: np.ndarray, mixture: Mixture) -> np.ndarray:
    """E step: posteriors [n, K] of the components."""
    logs = np.empty((len(x), len(mixture.weights)))
    for k, (weight, location, scale, laplacian) in enumerate(
        zip(mixture.weights, mixture.location, mixture.scale, mixture.laplacian, strict=True)
    ):
        z = (x - location) / scale
        heights = np.where(laplacian, math.log(2), math.log(2 * math.pi) / 2) + np.log(scale)
        logs[:, k] = np.log(weight) - np.where(laplacian, np.abs(z), z**2 / 2).sum(axis=1) - heights.sum()
    logs -= logs.max(axis=1, keepdims=True)
    shares = np.exp(logs)
    return shares / shares.sum(axis=1, keepdims=True)


def _sample(rows: np.ndarray, seed: int) -> np.ndarray:
    if len(rows) <= MAX_WORDS:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), MAX_WORDS, replace=False))]
