"""A bridge between two encoders: a linear map from old vectors into the space of new ones (NumPy).

It is learned on items that the new encoders have encoded already, and on texts, which both text encoders encode in a
moment: where items are few, texts tell more of the map than the items do. All other items are searched through their
mapped vectors until it is their turn. The map is a ridge regression, an orthogonal one with fewer degrees of freedom
(Procrustes: Schoenemann, 1966), or the mean of both; which one, the penalty of the ridge, and the weight of the texts
are chosen by what is found among items that were left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 4.0)  # of the mean variance of an old vector's component, times the items
TEXT_WEIGHTS = (0.0, 0.1, 0.3, 1.0)  # variance of all texts, of that of all items
HELD_OUT = 0.2  # share of the re-encoded items that are left out of the fit, to choose and to measure
MOST_HELD_OUT = 2000
FEWEST = 24  # re-encoded items with which a bridge is tried
NEAREST = 10  # K of the recall that is measured
FIRST = 3  # items of a query by which a map is chosen: see `_quality`
BLOCK = 200  # items left out among which it is measured: the more there are, the lower it is


@dataclass(frozen=True, eq=False)
class Bridge:
    """A map from old vectors, [n, D], to new ones, [n, E].

    Attributes:
        matrix: float32 [D, E].
        offset: float32 [E], added after the matrix.
        kind: "ridge", "orthogonal", or "mixed", the mean of both.
        penalty: of the ridge, see `PENALTIES`; 0 for an orthogonal map.
        text_weight: of the texts, see `TEXT_WEIGHTS`.
        learned: number of items that it was learned on.
        cosine: mean cosine of mapped with re-encoded vectors, of items left out.
        recall: recall@10 of mapped vectors, among `BLOCK` items left out at a time: the share of each query's ten
            nearest among the re-encoded vectors that are among the ten nearest of the mapped ones; 1 is no loss.
        held_out: number of items left out.
    """

    matrix: Matrix
    offset: Matrix
    kind: str
    penalty: float
    text_weight: float
    learned: int
    cosine: float
    recall: float
    held_out: int

    def map(self, vectors: NDArray[np.floating]) -> Matrix:
        """New vectors, unit length, float32 [n, E], of old ones, [n, D]."""
        return unit(np.asarray(vectors, np.float32) @ self.matrix + self.offset)


@dataclass(frozen=True, eq=False)
class _Map:
    kind: str
    penalty: float
    text_weight: float
    matrix: Matrix
    offset: Matrix

    def __call__(self, vectors: Matrix) -> Matrix:
        return unit(vectors @ self.matrix + self.offset)


def fit_bridge(
    old: Matrix, new: Matrix, queries: Matrix, *, texts: tuple[Matrix, Matrix] | None = None, seed: int = 0
) -> Bridge:
    """Learn a bridge from items of which both vectors are known.

    Args:
        old: float32 [n, D], unit length: vectors by the old encoders.
        new: float32 [n, E]: the same items by the new encoders.
        queries: float32 [q, E]: vectors of texts by the new encoders, for the choice and the recall; without any, the
            new vectors of the items left out are the queries.
        texts: float32 [t, D] and [t, E]: other texts by the old and by the new encoders.
        seed: of the choice of items left out.

    Returns:
        The bridge that finds most of what re-encoded items left out would be found for, learned again on all items.

    Raises:
        ValueError: fewer than `FEWEST` items, or shapes that do not fit.
    """
    if len(old) != len(new) or len(old) < FEWEST:
        raise ValueError(f"old {old.shape} and new {new.shape}: one row each of at least {FEWEST} items")
    order = np.random.default_rng(seed).permutation(len(old))
    left_out, rest = np.split(order, [min(MOST_HELD_OUT, max(NEAREST + 1, int(HELD_OUT * len(old))))])
    parts = [left_out[part] for part in np.array_split(np.arange(len(left_out)), max(1, len(left_out) // BLOCK))]
    asked = [queries if len(queries) else unit(new[part]) for part in parts]

    def quality(map: _Map) -> float:
        return float(np.mean([_quality(q, unit(new[part]), map(old[part])) for q, part in zip(asked, parts)]))

    best = max(_maps(old[rest], new[rest], texts), key=quality)
    mapped = best(old[left_out])
    recall = np.mean([overlap(nearest(q, new[p]), nearest(q, best(old[p]))) for q, p in zip(asked, parts)])
    chosen = (best.penalty,), (best.text_weight,), (best.kind,)
    (final,) = _maps(old, new, texts, *chosen)
    return Bridge(
        final.matrix,
        final.offset,
        best.kind,
        best.penalty,
        best.text_weight,
        len(old),
        float(np.einsum("ij,ij->i", mapped, unit(new[left_out])).mean()),
        float(recall),
        len(left_out),
    )


def _quality(queries: Matrix, new: Matrix, mapped: Matrix) -> float:
    """How much of what is found is the same: the first three items of each query, and the ten queries of each item.

    Of ten measures that were tried, which need no captions of the items, its choices had the highest rsum on other
    images; that of the ten nearest items of each query alone chose worse ones.
    """
    of_queries = overlap(nearest(queries, new, FIRST), nearest(queries, mapped, FIRST))
    return of_queries + overlap(nearest(new, queries), nearest(mapped, queries))


def _maps(
    old: Matrix,
    new: Matrix,
    texts: tuple[Matrix, Matrix] | None,
    penalties: Sequence[float] = PENALTIES,
    text_weights: Sequence[float] = TEXT_WEIGHTS,
    kinds: Sequence[str] = ("orthogonal", "ridge", "mixed"),
) -> Iterator[_Map]:
    """Every map that is tried."""
    centre, target = old.mean(axis=0, dtype=np.float64), new.mean(axis=0, dtype=np.float64)
    x, y = old - centre, new - target
    of_items, of_texts = (x.T @ x, x.T @ y), None
    if texts is not None and len(texts[0]) >= FEWEST:
        # Texts have another mean than images; only how both differ from their means is mapped alike.
        a, b = (side - side.mean(axis=0, dtype=np.float64) for side in texts)
        scale = np.trace(of_items[0]) / np.square(a).sum()
        of_texts = scale * (a.T @ a), scale * (a.T @ b)
    for weight in text_weights if of_texts is not None else (0.0,):
        products = of_items
        if of_texts is not None and weight:
            products = of_items[0] + weight * of_texts[0], of_items[1] + weight * of_texts[1]
        rotation = _procrustes(products[1])
        if "orthogonal" in kinds:
            yield _Map("orthogonal", 0.0, weight, *_with_offset(rotation, centre, target))
        for penalty, matrix in _ridges(*products, penalties):
            if "ridge" in kinds:
                yield _Map("ridge", penalty, weight, *_with_offset(matrix, centre, target))
            if "mixed" in kinds:
                both = matrix + rotation * (_length(x @ matrix) / _length(x @ rotation))
                yield _Map("mixed", penalty, weight, *_with_offset(both / 2, centre, target))


def _ridges(
    squares: NDArray[np.float64], products: NDArray[np.float64], penalties: Sequence[float]
) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """(penalty, matrix [D, E]) of ridge regressions, from x.T @ x and x.T @ y."""
    values, axes = np.linalg.eigh(squares)
    projected = axes.T @ products
    scale = float(values.clip(0).sum()) / len(values)
    for penalty in penalties:
        yield penalty, axes @ (projected / (values.clip(0) + penalty * scale)[:, None])


def _procrustes(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix [D, E] with orthonormal rows or columns for which x @ matrix is nearest to y, from x.T @ y."""
    left, _, right = np.linalg.svd(products, full_matrices=False)
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
