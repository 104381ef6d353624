"""Embeddings, or a matrix of scores -> scores, block by block, after every row and group was found usable."""

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
    """Scores of n pictures with m captions, made where and when they are asked for, by `scores_of` or `given_scores`.

    Attributes:
        block: (indices of pictures, indices of captions), both int arrays -> float32 [pictures, captions], newly made.
        image_ties, caption_ties: float32 [n] and [m]: for a query of that side, scores that close count as equal.
    """

    block: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]
    image_ties: NDArray[np.float32]
    caption_ties: NDArray[np.float32]


def scores_of(images: ArrayLike, captions: ArrayLike) -> Scores:
    """The dot products of two matrices of embeddings, [n, D] and [m, D]; ValueError as for `best_ranks`."""
    return scores_of_sides(*checked_sides(images, captions, ("images", "captions")))


def given_scores(matrix: NDArray[np.float32]) -> Scores:
    """A similarity matrix float32 [n, m] that is there already, taken as it stands: only equal scores are ties.

    Raises:
        ValueError: not a matrix of float32, or not finite.
    """
    if matrix.ndim != 2 or not matrix.size or matrix.dtype != np.float32:
        raise ValueError(f"scores must be a float32 matrix [n, m], and are {matrix.dtype} {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("scores must be finite; look for a diverged training run")
    none = (np.zeros(size, np.float32) for size in matrix.shape)
    return Scores(lambda rows, columns: _part(matrix, rows, columns), *none)


def _part(matrix: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """A copy of some rows and columns; many times faster where they are consecutive, as they mostly are."""
    if all(len(places) and np.array_equal(places, np.arange(len(places)) + places[0]) for places in (rows, columns)):
        return matrix[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return matrix[np.ix_(rows, columns)]


def scores_of_sides(left: NDArray[np.float32], right: NDArray[np.float32]) -> Scores:
    lengths = _lengths(left), _lengths(right)
    ties = (np.float32(TIE) * lengths[0] * lengths[1].max(), np.float32(TIE) * lengths[1] * lengths[0].max())
    return Scores(lambda rows, columns: left[rows] @ right[columns].T, *ties)


def checked_sides(
    queries: ArrayLike, items: ArrayLike, sides: tuple[str, str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both matrices as float32, after every row was found usable."""
    left, right = (_embeddings(matrix, side) for matrix, side in zip((queries, items), sides))
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"{sides[0]} and {sides[1]} must be equally wide, and are {left.shape[1]} and {right.shape[1]} wide: "
            "do they come from the two encoders of one run?"
        )
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


def group_numbers(
    query_groups: Groups,
    item_groups: Groups,
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


def blocks(count: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, count)) for start in range(0, count, block))


def _lengths(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
