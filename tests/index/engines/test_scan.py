"""Exact search: hand-worked scores, ties, filters, and a plain computation as peer."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.index.engines.parts import Part, added, item_filter
from itembed_tf.index.engines.scan import check_queries, exact_scores, ranked, scan
from itembed_tf.index.rows import Rows


def unit(random: np.random.Generator, n: int, dimensions: int) -> np.ndarray:
    vectors = random.standard_normal((n, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def made(vectors, items=None, biases=None, first: int = 1, dtype=np.float32) -> Rows:
    vectors = np.asarray(vectors, np.float16).astype(dtype)
    n = len(vectors)
    items = np.arange(first, first + n) if items is None else np.asarray(items, np.int64)
    biases = np.zeros((n, 2), np.float32) if biases is None else np.asarray(biases, np.float32)
    return Rows(np.arange(first, first + n), items, vectors, biases)


def found(parts, queries, k, allowed=None):
    queries = np.asarray(queries, np.float32)
    admitted = [part.admitted(item_filter(allowed)) for part in parts]
    return ranked(parts, scan(parts, queries, k, admitted), queries, k)


def test_scores_and_biases_worked_by_hand() -> None:
    rows = made([[1, 0], [0, 1], [-1, 0]], items=[7, 8, 9], biases=[[0.5, 0.0], [0.25, 0.0], [0.0, 1.0]])
    items, scores = found([Part(rows)], [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]], 3)
    np.testing.assert_array_equal(items, [[7, 8, 9], [7, 8, 9], [8, 7, 9]])
    np.testing.assert_array_equal(scores, [[0.5, -0.25, -1], [1, 0, -2], [1, 0, 0]])


def test_equal_scores_are_ordered_by_item_and_all_ties_at_the_end_compete() -> None:
    random = np.random.default_rng(0)
    same = np.tile(unit(random, 1, 48), (5000, 1))
    items = random.permutation(5000) + 1
    parts = [Part(made(same[:3000], items[:3000])), Part(made(same[3000:], items[3000:], first=3001))]
    query = np.concatenate([unit(random, 3, 48), np.zeros((3, 2))], axis=1)
    best, scores = found(parts, query, 10)
    np.testing.assert_array_equal(best, np.tile(np.arange(1, 11), (3, 1)))
    assert (scores == scores[:, :1]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_score_does_not_depend_on_what_else_is_scored(dtype) -> None:
    random = np.random.default_rng(1)
    rows = made(unit(random, 301, 129), biases=random.standard_normal((301, 2)), dtype=dtype)
    queries = random.standard_normal((7, 131)).astype(np.float32)
    of, positions = np.divmod(np.arange(7 * 301), 301)
    together = exact_scores(rows, positions, queries, of)
    alone = [exact_scores(rows, positions[i : i + 1], queries, of[i : i + 1])[0] for i in range(0, 2107, 13)]
    np.testing.assert_array_equal(together[::13], alone)
    np.testing.assert_array_equal(
        together, exact_scores(made(rows.vectors, biases=rows.biases), positions, queries, of)
    )


@pytest.mark.parametrize("share", [None, 0.9, 0.1, 0.001])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_same_items_as_a_plain_computation(dtype, share) -> None:
    random = np.random.default_rng(2)
    vectors, biases = unit(random, 3000, 24), random.standard_normal((3000, 2)).astype(np.float32) / 9
    items = random.permutation(9000)[:3000] + 1
    parts = [
        Part(made(vectors[:2000], items[:2000], biases[:2000], dtype=dtype)).without(np.arange(0, 2000, 3)),
        Part(made(vectors[2000:], items[2000:], biases[2000:], first=2001, dtype=dtype)),
    ]
    queries = np.concatenate([unit(random, 100, 24), np.tile([1, 0], (100, 1))], axis=1).astype(np.float32)
    allowed = None if share is None else np.flatnonzero(random.random(9001) < share)
    may = np.arange(3000) >= 2000
    may |= np.arange(3000) % 3 > 0
    may &= True if allowed is None else np.isin(items, allowed)
    scores = queries @ np.concatenate([vectors, -biases], axis=1).T.astype(np.float64)
    order = np.lexsort((np.broadcast_to(items, scores.shape), np.where(may, -scores, np.inf)), axis=1)[:, :10]
    best, values = found(parts, queries, 10, allowed)
    count = min(10, int(may.sum()))
    np.testing.assert_array_equal(best[:, :count], items[order][:, :count])
    assert (best[:, count:] == -1).all() and (values[:, count:] == -np.inf).all()
    np.testing.assert_allclose(values[:, :count], np.take_along_axis(scores, order, 1)[:, :count], atol=1e-6)


def test_nothing_is_found_where_nothing_is_allowed_or_nothing_is_left() -> None:
    part = Part(made(np.eye(2)))
    for parts, allowed in (([part], np.array([], np.int64)), ([part.without(np.arange(2))], None), ([], None)):
        items, scores = found(parts, [[1, 0, 0, 0]], 2, allowed)
        assert items.tolist() == [[-1, -1]] and np.isneginf(scores).all()


def test_parts_in_memory_stay_few_and_lose_what_is_dead() -> None:
    parts: list[Part] = []
    for i in range(200):
        parts = added(parts, made([[1, 0]], first=i + 1))
        parts = [part.without(np.flatnonzero(part.rows.rows % 2 == 0)) for part in parts]
    assert len(parts) < 9
    assert sum(part.alive for part in parts) == 100
    assert np.all(np.diff(np.concatenate([part.rows.rows for part in parts])) > 0)


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [(np.zeros((1, 4)), 1, r"\[n, 6\]"), (np.full((1, 6), np.nan), 1, "NaN"), (np.zeros((1, 6)), 0, "at least 1")],
)
def test_queries_that_do_not_fit_are_refused(queries, k, message) -> None:
    with pytest.raises(ValueError, match=message):
        check_queries(queries, k, 4)
