"""Scores of images with captions, computed block by block from checked embeddings or taken from a given matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIE = 16 * 2.0**-23  # 16 float32 ulps of 1, about 1.9e-6

Groups = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """Scores of n images with m captions, computed on demand; see `embedding_scores` and `matrix_scores`.

    Attributes:
        block: (image indices, caption indices), both int arrays -> float32 [images, captions], a new array.
        image_ties, caption_ties: float32 [n] and [m]: for a query, scores that differ by less count as equal.
    """

    block: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]
    image_ties: NDArray[np.float32]
    caption_ties: NDArray[np.float32]


def embedding_scores(images: ArrayLike, captions: ArrayLike) -> Scores:
    """Dot products of two embedding matrices, [n, D] and [m, D]; ValueError as for `best_ranks`."""
    return pair_scores(*checked_pair(images, captions, ("images", "captions")))


def matrix_scores(matrix: NDArray[np.float32]) -> Scores:
    """A given similarity matrix float32 [n, m]; only equal scores are ties.

    Raises:
        ValueError: not a float32 matrix, or not finite.
    """
    if matrix.ndim != 2 or not matrix.size or matrix.dtype != np.float32:
        raise ValueError(f"scores must be a float32 matrix [n, m], not {matrix.dtype} {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("scores must be finite; the training run may have diverged")
    no_ties = (np.zeros(size, np.float32) for size in matrix.shape)
    return Scores(lambda rows, columns: _submatrix(matrix, rows, columns), *no_ties)


def _submatrix(matrix: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """A copy of some rows and columns; many times faster where they are consecutive, as they mostly are."""
    if all(len(index) and np.array_equal(index, np.arange(len(index)) + index[0]) for index in (rows, columns)):
        return matrix[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return matrix[np.ix_(rows, columns)]


def pair_scores(left: NDArray[np.float32], right: NDArray[np.float32]) -> Scores:
    """`embedding_scores` of matrices that `checked_pair` has checked."""
    lengths = _lengths(left), _lengths(right)
    ties = (np.float32(TIE) * lengths[0] * lengths[1].max(), np.float32(TIE) * lengths[1] * lengths[0].max())
    return Scores(lambda rows, columns: left[rows] @ right[columns].T, *ties)


def checked_pair(
    queries: ArrayLike, items: ArrayLike, names: tuple[str, str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both matrices as float32; raises ValueError for a wrong shape and for a row that cannot be ranked."""
    left, right = (_checked(matrix, name) for matrix, name in zip((queries, items), names))
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same number of dimensions, not {left.shape[1]} and "
            f"{right.shape[1]}; take both from the encoders of one run"
        )
    return left, right


def _checked(matrix: ArrayLike, name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # a value too large for float32 becomes inf here and is reported below
        checked = np.asarray(matrix, dtype=np.float32)
        if checked.ndim != 2 or not checked.size:
            raise ValueError(f"{name} must be a matrix [rows, D] with at least one row, not of shape {checked.shape}")
        lengths = _lengths(checked)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        row = checked[bad[0]]
        problem = "NaN" if np.isnan(row).any() else "infinite or too large" if lengths[bad[0]] else "zero"
        raise ValueError(
            f"{name} row {bad[0]} is {problem} ({len(bad)} such rows of {len(checked)}) and cannot be ranked; the "
            "training run may have diverged, or an input may be empty"
        )
    return checked


def group_indices(
    query_groups: Groups,
    item_groups: Groups,
    counts: tuple[int, int],
    names: tuple[str, str],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Groups as integers common to queries and items; raises ValueError for a query without a correct item."""
    groups = (np.asarray(query_groups), np.asarray(item_groups))
    for labels, count, name in zip(groups, counts, names):
        if labels.shape != (count,):
            raise ValueError(f"{name} has {count} rows, so its groups must have shape ({count},), not {labels.shape}")
    labels, indices = np.unique(np.concatenate(groups), return_inverse=True)
    query_indices, item_indices = indices[: counts[0]], indices[counts[0] :]
    alone = np.flatnonzero(~np.isin(query_indices, item_indices))
    if len(alone):
        raise ValueError(
            f"{names[0]} row {alone[0]} is of group {labels[query_indices[alone[0]]]!r}, which has no row in "
            f"{names[1]} ({len(alone)} such rows); remove it, or add an item of its group"
        )
    return query_indices, item_indices


def blocks(count: int, block: int) -> Iterator[slice]:
    """Consecutive slices of at most `block` that cover `count` rows."""
    return (slice(start, min(start + block, count)) for start in range(0, count, block))


def _lengths(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
