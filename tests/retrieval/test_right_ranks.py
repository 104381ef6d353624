"""Ranks of all right items by hand, and the precision measures against their definitions written out."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.retrieval import (
    average_precision,
    average_precision_at_r,
    best_ranks,
    given_scores,
    inverse_negative_penalty,
    r_precision,
    right_ranks,
    scores_of,
)

# One picture, six captions. Right: 0, 3 and 5, at ranks 1, 4 and 6; caption 2 ties with 3 and counts against it.
SCORES = np.array([[0.9, 0.8, 0.5, 0.5, 0.4, 0.1]], np.float32)


def ranks_of(right):
    return right_ranks(given_scores(SCORES), {0: right}, images_ask=True)


def test_ranks_and_measures_by_hand():
    ranks = ranks_of([5, 0, 3])
    assert [own.tolist() for own in ranks] == [[1, 4, 6]]
    assert average_precision(ranks) == pytest.approx([(1 / 1 + 2 / 4 + 3 / 6) / 3])
    assert inverse_negative_penalty(ranks) == pytest.approx([3 / 6])
    assert r_precision(ranks, [3]) == pytest.approx([1 / 3])
    assert average_precision_at_r(ranks, [3]) == pytest.approx([1 / 3])
    # R counts right items that the gallery lacks: of four, the first four ranks hold two
    assert r_precision(ranks, [4]) == pytest.approx([2 / 4])
    assert average_precision_at_r(ranks, [4]) == pytest.approx([(1 + 2 / 4) / 4])


def test_a_tie_between_two_right_items_costs_nothing():
    assert ranks_of([2, 3])[0].tolist() == [3, 4]


def test_captions_ask():
    matrix = SCORES.T.copy()  # six pictures, one caption
    ranks = right_ranks(given_scores(matrix), {0: [1, 4]}, images_ask=False)
    assert ranks[0].tolist() == [2, 5]


@pytest.mark.parametrize("right", [3, 60])  # counted item by item, and by a sort
@pytest.mark.parametrize("images_ask", [True, False])
def test_against_a_sort_of_every_row(right, images_ask):
    # integer scores: nearly everything ties
    draws = np.random.default_rng(right)
    matrix = draws.integers(0, 30, (300, 280)).astype(np.float32)
    queries, items = matrix.shape if images_ask else matrix.shape[::-1]
    asked = draws.permutation(queries)[:290]
    wanted = {int(q): draws.choice(items, right, replace=False) for q in asked}
    found = right_ranks(given_scores(matrix), wanted, images_ask=images_ask)
    for (query, own), ranks in zip(wanted.items(), found, strict=True):
        row = matrix[query] if images_ask else matrix[:, query]
        is_right = np.isin(np.arange(items), own)
        order = np.lexsort((is_right, -row))  # of equal ones, wrong before right
        np.testing.assert_array_equal(ranks, 1 + np.flatnonzero(is_right[order]))


def test_the_first_is_the_best_rank_and_the_tie_rule_is_the_same():
    draws = np.random.default_rng(3)
    images, captions = (draws.normal(size=(n, 8)).astype(np.float32) for n in (40, 120))
    captions[60:80] = captions[40:60]  # the same vector twice: one of them is wrong
    groups = np.arange(120) % 40
    wanted = {i: np.flatnonzero(groups == i) for i in range(40)}
    found = right_ranks(scores_of(images, captions), wanted, images_ask=True)
    assert [own[0] for own in found] == best_ranks(images, captions, np.arange(40), groups).tolist()


def test_a_matrix_is_taken_as_it_stands():
    close = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1))]], np.float32)
    assert right_ranks(given_scores(close), {0: [1]}, images_ask=True)[0].tolist() == [1]
    for bad, words in (
        (close.astype(np.float64), "float32 matrix"),
        (close[0], "float32 matrix"),
        (close * np.inf, "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            given_scores(bad)
