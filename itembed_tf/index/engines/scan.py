"""Exact search: all rows are scored, in blocks, by matrix products.

A matrix product rounds by the shape of its block, so the same row can score differently in two engines. It therefore
only proposes candidates: all rows whose score is within the rounding of the k-th best. They are scored again by a
function whose result depends on the row and the query alone (`exact_scores`), and these scores are the answer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.engines.interface import Found
from itembed_tf.index.engines.parts import Part
from itembed_tf.index.rows import Rows
from itembed_tf.retrieval import TIE

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
GROUP = 64  # queries at a time
BLOCK_SCORES = 1 << 22  # of one block: 16 MiB
CONVERTED = 512  # float16 rows converted at a time: their float32 values stay in the processor's cache
GATHERED = 2048  # rows copied at a time, which stay in the processor's cache
GATHER_BELOW = 0.4  # share of admitted rows below which copying them is faster than scoring all; measured


@dataclass(frozen=True)
class Candidates:
    """Rows that are scored exactly: three int64 [m]: number of the query, number of the part, position in it."""

    queries: NDArray[np.int64]
    parts: NDArray[np.int64]
    positions: NDArray[np.int64]


def check_queries(queries: NDArray[np.float32], k: int, dimensions: int) -> NDArray[np.float32]:
    """Queries as contiguous float32; ValueError as `View.search`."""
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimensions + 2:
        raise ValueError(f"queries must be [n, {dimensions + 2}] (vector and two biases), not {list(queries.shape)}")
    if not np.isfinite(queries).all():
        raise ValueError("a query vector is NaN or infinite")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return queries


def scan(
    parts: Sequence[Part],
    queries: NDArray[np.float32],
    k: int,
    admitted: Sequence[NDArray[np.bool_] | None] | None = None,
) -> Candidates:
    """Every row of the parts that may be among the best k of a query.

    Args:
        admitted: the rows of each part that may be found, as `Part.admitted`; by default those that are alive.
    """
    admitted = admitted or [part.admitted(None) for part in parts]
    found = []
    for start in range(0, len(queries), GROUP):
        best = _Best(queries[start : start + GROUP], k, start)
        for number, part in enumerate(parts):
            _scan_part(best, number, part, admitted[number])
        found.append(best.candidates())
    return joined_candidates(found)


def joined_candidates(found: Sequence[Candidates]) -> Candidates:
    fields = [[getattr(c, name) for c in found] for name in ("queries", "parts", "positions")]
    return Candidates(*(np.concatenate(arrays) if arrays else np.empty(0, np.int64) for arrays in fields))


def ranked(parts: Sequence[Part], candidates: Candidates, queries: NDArray[np.float32], k: int) -> Found:
    """The best k candidates of each query by exact score, equal scores by item id."""
    scores = np.empty(len(candidates.queries), np.float32)
    items = np.empty(len(candidates.queries), np.int64)
    for number, part in enumerate(parts):
        mine = np.flatnonzero(candidates.parts == number)
        positions = candidates.positions[mine]
        items[mine] = part.rows.items[positions]
        scores[mine] = exact_scores(part.rows, positions, queries, candidates.queries[mine])
    good = _best_of_each(candidates.queries, scores, len(queries), k)
    order = good[np.lexsort((items[good], -scores[good], candidates.queries[good]))]
    of = candidates.queries[order]
    rank = np.arange(len(of)) - np.searchsorted(of, of)
    kept, of, rank = order[rank < k], of[rank < k], rank[rank < k]
    best, values = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
    best[of, rank], values[of, rank] = items[kept], scores[kept]
    return best, values


def _best_of_each(of: NDArray[np.int64], scores: NDArray[np.float32], count: int, k: int) -> NDArray[np.int64]:
    """Candidates that score at least as high as the k-th of their query: sorting these takes less than sorting all."""
    order = np.argsort(of, kind="stable")
    sorted_of = of[order]
    place = np.arange(len(of)) - np.searchsorted(sorted_of, sorted_of)
    if not len(of) or place.max() < k:
        return order
    dense = np.full((count, int(place.max()) + 1), -np.inf, np.float32)
    dense[sorted_of, place] = scores[order]
    kth = np.partition(dense, dense.shape[1] - k, axis=1)[:, dense.shape[1] - k]
    return order[scores[order] >= kth[sorted_of]]


def exact_scores(
    rows: Rows, positions: NDArray[np.int64], queries: NDArray[np.float32], of: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Inner products float32 [m] of the rows at `positions` [m] with the queries number `of` [m].

    The sum runs over one row in a fixed order, so that it depends on nothing but the row and the query.
    """
    dimensions = rows.vectors.shape[1]
    scores = np.empty(len(positions), np.float32)

    def fill(start: int) -> None:
        block = slice(start, start + GATHERED)
        asked = queries[of[block]]
        vectors = rows.vectors[positions[block]].astype(np.float32, copy=False)
        biases = rows.biases[positions[block]]
        scores[block] = np.vecdot(vectors, np.ascontiguousarray(asked[:, :dimensions]))
        scores[block] -= biases[:, 0] * asked[:, dimensions] + biases[:, 1] * asked[:, dimensions + 1]

    starts = range(0, len(positions), GATHERED)
    if len(starts) > 4:
        with ThreadPoolExecutor(THREADS) as threads:  # NumPy lets other threads run meanwhile
            list(threads.map(fill, starts))
    else:
        for start in starts:
            fill(start)
    return scores + np.float32(0)  # -0.0 becomes 0.0


class _Best:
    """Candidates of some queries, and the k-th best score so far of each."""

    def __init__(self, queries: NDArray[np.float32], k: int, first: int) -> None:
        self.queries, self.k, self.first = queries, k, first
        self.vectors = np.ascontiguousarray(queries[:, :-2])
        self.rounding = 2 * TIE * np.linalg.norm(queries, axis=1)  # of two scores of rows of length 1 or a little more
        self.top = np.full((len(queries), k), -np.inf, np.float32)
        self.found: list[tuple[NDArray[np.int64], ...]] = []
        self.scores: list[NDArray[np.float32]] = []

    @property
    def threshold(self) -> NDArray[np.float32]:
        return np.maximum(self.top.min(axis=1) - self.rounding, np.finfo(np.float32).min).astype(np.float32)

    def add(self, scores: NDArray[np.float32], part: int, positions: NDArray[np.int64]) -> None:
        """Take scores [queries, rows]; -inf for a row that may not be found."""
        keep = scores >= self.threshold[:, None]
        if scores.shape[1] > self.k and keep.sum(axis=1).max() > 8 * self.k:
            column = scores.shape[1] - self.k
            kth = np.partition(scores, column, axis=1)[:, column]
            keep = scores >= np.maximum(kth - self.rounding, self.threshold)[:, None]
        query, column_of = np.nonzero(keep)
        if not len(query):
            return
        values = scores[query, column_of]
        self.found.append((query, np.full(len(query), part), positions[column_of]))
        self.scores.append(values)
        place = np.arange(len(query)) - np.searchsorted(query, query)
        wide = np.full((len(self.queries), self.k + int(place.max()) + 1), -np.inf, np.float32)
        wide[:, : self.k] = self.top
        wide[query, self.k + place] = values
        self.top = np.partition(wide, wide.shape[1] - self.k, axis=1)[:, -self.k :]

    def candidates(self) -> Candidates:
        if not self.found:
            return joined_candidates([])
        query, part, position = (np.concatenate(arrays) for arrays in zip(*self.found))
        keep = np.concatenate(self.scores) >= self.threshold[query]
        return Candidates(query[keep] + self.first, part[keep], position[keep])


def _scan_part(best: _Best, number: int, part: Part, admitted: NDArray[np.bool_] | None) -> None:
    count = len(part.rows)
    chosen = None if admitted is None else np.flatnonzero(admitted)
    if chosen is not None and len(chosen) < GATHER_BELOW * count:
        for start in range(0, len(chosen), GATHERED):
            positions = chosen[start : start + GATHERED]
            best.add(_scores(best, part.rows.vectors[positions], part.rows.biases[positions]), number, positions)
        return
    step = max(1024, BLOCK_SCORES // len(best.queries))
    for start in range(0, count, step):
        block = slice(start, min(start + step, count))
        scores = _scores(best, part.rows.vectors[block], part.rows.biases[block])
        if admitted is not None:
            scores[:, ~admitted[block]] = -np.inf
        best.add(scores, number, np.arange(block.start, block.stop))


def _scores(
    best: _Best, vectors: NDArray[np.float16] | NDArray[np.float32], biases: NDArray[np.float32]
) -> NDArray[np.float32]:
    if vectors.dtype == np.float32:
        scores = best.vectors @ vectors.T
    else:
        scores = np.empty((len(best.vectors), len(vectors)), np.float32)
        for start in range(0, len(vectors), CONVERTED):
            block = slice(start, start + CONVERTED)
            scores[:, block] = best.vectors @ vectors[block].astype(np.float32).T
    if best.queries[:, -2:].any():
        scores -= best.queries[:, -2:] @ biases.T
    return scores
