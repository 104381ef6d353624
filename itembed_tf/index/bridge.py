"""A bridge between two encoders: a linear map from old vectors into the space of new ones (NumPy).

It is learned on items that the new encoders have encoded already. All others are searched through their mapped vectors
until it is their turn. The map is a ridge regression, an orthogonal one with fewer degrees of freedom (Procrustes:
Schoenemann, 1966), or the mean of both; which one, and the penalty of the ridge, is chosen on items that were left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

PENALTIES = (0.03, 0.1, 0.3, 1.0, 2.0, 4.0)  # of the mean variance of an old vector's component, times the items
HELD_OUT = 0.2  # share of the re-encoded items that are left out of the fit, to choose and to measure
MOST_HELD_OUT = 2000
FEWEST = 24  # re-encoded items with which a bridge is tried
NEAREST = 10  # K of the recall that is measured
BLOCK = 200  # items left out among which it is measured: the more there are, the lower it is


@dataclass(frozen=True, eq=False)
class Bridge:
    """A map from old vectors, [n, D], to new ones, [n, E].

    Attributes:
        matrix: float32 [D, E].
        offset: float32 [E], added after the matrix.
        kind: "ridge", "orthogonal", or "mixed", the mean of both.
        learned: number of items that it was learned on.
        cosine: mean cosine of mapped with re-encoded vectors, of items left out.
        recall: recall@10 of mapped vectors, among `BLOCK` items left out at a time: the share of each query's ten
            nearest among the re-encoded vectors that are among the ten nearest of the mapped ones; 1 is no loss.
        held_out: number of items left out.
    """

    matrix: Matrix
    offset: Matrix
    kind: str
    learned: int
    cosine: float
    recall: float
    held_out: int

    def map(self, vectors: NDArray[np.floating]) -> Matrix:
        """New vectors, unit length, float32 [n, E], of old ones, [n, D]."""
        return unit(np.asarray(vectors, np.float32) @ self.matrix + self.offset)


def fit_bridge(old: Matrix, new: Matrix, queries: Matrix, *, seed: int = 0) -> Bridge:
    """Learn a bridge from items of which both vectors are known.

    Args:
        old: float32 [n, D], unit length: vectors by the old encoders.
        new: float32 [n, E]: the same items by the new encoders.
        queries: float32 [q, E]: vectors of texts by the new encoders, for the recall; without any, the new vectors of
            the items left out are the queries.
        seed: of the choice of items left out.

    Returns:
        The bridge with the highest recall on items left out, learned again on all items.

    Raises:
        ValueError: fewer than `FEWEST` items, or shapes that do not fit.
    """
    if len(old) != len(new) or len(old) < FEWEST:
        raise ValueError(f"old {old.shape} and new {new.shape}: one row each of at least {FEWEST} items")
    order = np.random.default_rng(seed).permutation(len(old))
    left_out, rest = np.split(order, [min(MOST_HELD_OUT, max(NEAREST + 1, int(HELD_OUT * len(old))))])
    parts = np.array_split(np.arange(len(left_out)), max(1, len(left_out) // BLOCK))
    best: Bridge | None = None
    for kind, penalty, matrix, offset in _candidates(old[rest], new[rest]):
        candidate = Bridge(matrix, offset, f"{kind}{penalty:g}" if penalty else kind, len(rest), 0.0, 0.0, 0)
        mapped = candidate.map(old[left_out])
        recall = float(np.mean([_recall(queries, new[left_out[part]], mapped[part]) for part in parts]))
        if best is None or recall > best.recall:
            cosine = float(np.einsum("ij,ij->i", mapped, unit(new[left_out])).mean())
            best = Bridge(matrix, offset, candidate.kind, len(rest), cosine, recall, len(left_out))
    assert best is not None
    return _learned_on_all(best, old, new)


def _recall(queries: Matrix, new: Matrix, mapped: Matrix) -> float:
    asked = queries if len(queries) else new
    return overlap(nearest(asked, new), nearest(asked, mapped))


def _learned_on_all(chosen: Bridge, old: Matrix, new: Matrix) -> Bridge:
    for kind, penalty, matrix, offset in _candidates(old, new):
        if (f"{kind}{penalty:g}" if penalty else kind) == chosen.kind:
            return Bridge(matrix, offset, kind, len(old), chosen.cosine, chosen.recall, chosen.held_out)
    raise AssertionError(chosen.kind)


def _candidates(old: Matrix, new: Matrix) -> Iterator[tuple[str, float, Matrix, Matrix]]:
    """(kind, penalty, matrix, offset) of every map that is tried."""
    centre, target = old.mean(axis=0, dtype=np.float64), new.mean(axis=0, dtype=np.float64)
    x, y = old - centre, new - target
    rotation = _procrustes(x, y)
    yield "orthogonal", 0.0, *_with_offset(rotation, centre, target)
    values, axes = np.linalg.eigh(x.T @ x)
    projected = axes.T @ (x.T @ y)
    scale = float(values.clip(0).sum()) / len(values)
    for penalty in PENALTIES:
        matrix = axes @ (projected / (values.clip(0) + penalty * scale)[:, None])
        yield "ridge", penalty, *_with_offset(matrix, centre, target)
        both = matrix + rotation * (_length(x @ matrix) / _length(x @ rotation))
        yield "mixed", penalty, *_with_offset(both / 2, centre, target)


def _procrustes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix [D, E] with orthonormal rows or columns for which x @ matrix is nearest to y."""
    left, _, right = np.linalg.svd(x.T @ y, full_matrices=False)
    return left @ right


def _length(vectors: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(vectors, axis=1).mean())


def _with_offset(
    matrix: NDArray[np.float64], centre: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[Matrix, Matrix]:
    return matrix.astype(np.float32), (target - centre @ matrix).astype(np.float32)


def nearest(queries: Matrix, items: Matrix, count: int = NEAREST) -> NDArray[np.intp]:
    """Positions of the nearest items of each query by cosine, int [q, count], in no order."""
    count = min(count, len(items))
    return np.argpartition(-(queries @ unit(items).T), count - 1, axis=1)[:, :count]


def overlap(right: NDArray[np.intp], found: NDArray[np.intp]) -> float:
    """Mean share of the positions in `right`, [q, k], that are in the same row of `found`."""
    return float((right[:, :, None] == found[:, None, :]).any(axis=2).mean())


def unit(vectors: Matrix) -> Matrix:
    """Rows at unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
