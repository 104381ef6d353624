"""Ranks of all relevant items, and precision metrics, by hand and against a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.retrieval import (
    average_precision,
    average_precision_at_r,
    best_ranks,
    embedding_scores,
    inverse_negative_penalty,
    matrix_scores,
    r_precision,
    relevant_ranks,
)

# One image, six captions. Relevant: 0, 3 and 5, at ranks 1, 4 and 6; caption 2 ties with 3 and ranks before it.
SCORES = np.array([[0.9, 0.8, 0.5, 0.5, 0.4, 0.1]], np.float32)


def ranks_of(relevant):
    return relevant_ranks(matrix_scores(SCORES), {0: relevant}, direction="image_query")


def test_ranks_and_metrics_by_hand():
    ranks = ranks_of([5, 0, 3])
    assert [own.tolist() for own in ranks] == [[1, 4, 6]]
    assert average_precision(ranks) == pytest.approx([(1 / 1 + 2 / 4 + 3 / 6) / 3])
    assert inverse_negative_penalty(ranks) == pytest.approx([3 / 6])
    assert r_precision(ranks, [3]) == pytest.approx([1 / 3])
    assert average_precision_at_r(ranks, [3]) == pytest.approx([1 / 3])
    # R includes relevant items that are not in the gallery: of four, the first four ranks hold two
    assert r_precision(ranks, [4]) == pytest.approx([2 / 4])
    assert average_precision_at_r(ranks, [4]) == pytest.approx([(1 + 2 / 4) / 4])


def test_tie_between_relevant_items_does_not_lower_their_ranks():
    assert ranks_of([2, 3])[0].tolist() == [3, 4]


def test_text_queries():
    matrix = SCORES.T.copy()  # six images, one caption
    ranks = relevant_ranks(matrix_scores(matrix), {0: [1, 4]}, direction="text_query")
    assert ranks[0].tolist() == [2, 5]


@pytest.mark.parametrize("count", [3, 60])  # compared item by item, and by a sort
@pytest.mark.parametrize("direction", ["image_query", "text_query"])
def test_relevant_ranks_match_a_full_sort(count, direction):
    # integer scores: nearly everything ties
    generator = np.random.default_rng(count)
    matrix = generator.integers(0, 30, (300, 280)).astype(np.float32)
    oriented = matrix if direction == "image_query" else matrix.T
    queries, items = oriented.shape
    chosen = generator.permutation(queries)[:270]
    relevant = {int(q): generator.choice(items, count, replace=False) for q in chosen}
    ranked = relevant_ranks(matrix_scores(matrix), relevant, direction=direction)
    for (query, own), ranks in zip(relevant.items(), ranked, strict=True):
        is_relevant = np.isin(np.arange(items), own)
        order = np.lexsort((is_relevant, -oriented[query]))  # of equal scores, the irrelevant ones first
        np.testing.assert_array_equal(ranks, 1 + np.flatnonzero(is_relevant[order]))


def test_first_relevant_rank_equals_the_best_rank():
    generator = np.random.default_rng(3)
    images, captions = (generator.normal(size=(n, 8)).astype(np.float32) for n in (40, 120))
    captions[60:80] = captions[40:60]  # the same vector twice: one of them is irrelevant
    groups = np.arange(120) % 40
    relevant = {i: np.flatnonzero(groups == i) for i in range(40)}
    ranked = relevant_ranks(embedding_scores(images, captions), relevant, direction="image_query")
    assert [own[0] for own in ranked] == best_ranks(images, captions, np.arange(40), groups).tolist()


def test_score_matrix_has_no_tolerance_for_ties():
    close = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1))]], np.float32)
    assert relevant_ranks(matrix_scores(close), {0: [1]}, direction="image_query")[0].tolist() == [1]
    for bad, message in (
        (close.astype(np.float64), "float32 matrix"),
        (close[0], "float32 matrix"),
        (close * np.inf, "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            matrix_scores(bad)
