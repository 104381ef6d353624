"""Ranks and tables: small matrices by hand, and a brute-force reference."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from itembed_tf.retrieval import best_ranks, retrieval_table, top_k


def unit(rng, rows, width):
    matrix = rng.normal(size=(rows, width)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def reference_ranks(queries, items, query_groups, item_groups):
    """Query by query in float64; ties count against the model."""
    ranks = []
    for query, group in zip(queries.astype(np.float64), query_groups):
        scores = [float(query @ item) for item in items.astype(np.float64)]
        best = max(score for score, other in zip(scores, item_groups) if other == group)
        ranks.append(1 + sum(score >= best - 1e-9 for score, other in zip(scores, item_groups) if other != group))
    return ranks


# One-hot queries read scores off the rows of the items: item j scores SCORES[i][j] for query i. Items: a0, a1, b, c.
SCORES = np.array(
    [
        [0.9, 0.1, 0.5, 0.2],  # query a: its best item, a0, is first
        [0.9, 0.1, 0.5, 0.9],  # query b: two before it
        [0.2, 0.3, 0.3, 0.3],  # query c: a1 and b tie with c and count against it; a0 does not
    ]
)
GROUPS = ["a", "a", "b", "c"]


def test_ranks_by_hand():
    ranks = best_ranks(np.eye(3), SCORES.T, ["a", "b", "c"], GROUPS)
    assert ranks.dtype == np.int64
    assert ranks.tolist() == [1, 3, 3]


def test_table_by_hand():
    # image → text, 3 images and 4 captions: ranks 1, 3, 3 as above.
    # text → image, column by column of SCORES: a0 (.9 .9 .2): b ties with a -> 2; a1 (.1 .1 .3): both
    # b (tie) and c before a -> 3; b (.5 .5 .3): a ties -> 2; c (.2 .9 .3): b before -> 2.
    table = retrieval_table(np.eye(3), SCORES.T, ["a", "b", "c"], GROUPS)
    third = 100 / 3
    assert table.image_query.values == pytest.approx({"R@1": third, "R@5": 100, "R@10": 100, "MedR": 3, "MeanR": 7 / 3})
    assert table.text_query.values == pytest.approx({"R@1": 0, "R@5": 100, "R@10": 100, "MedR": 2, "MeanR": 9 / 4})
    assert table.rsum == pytest.approx(third + 400)


@pytest.mark.parametrize(
    ("ranks", "median"),
    # Of 4 queries at 1 1 3 4, recall@1 is half and not more; recall@3 is 75 %.
    [([1, 1, 3, 4], 3), ([1, 1, 1, 4], 1), ([1, 2, 3], 2), ([1, 2], 2), ([3, 1, 3], 3), ([1], 1)],
)
def test_median_rank_is_the_first_k_with_recall_above_one_half(ranks, median):
    # image i scores .5 with its own caption, .9 with ranks[i] - 1 others and .1 with the rest
    scores = np.full((len(ranks), len(ranks)), 0.1)
    for i, rank in enumerate(ranks):
        scores[i, [j for j in range(len(ranks)) if j != i][: rank - 1]] = 0.9
        scores[i, i] = 0.5
    groups = range(len(ranks))
    table = retrieval_table(np.eye(len(ranks)), scores.T, groups, groups)
    assert table["image_query"]["MedR"] == median
    assert table["image_query"]["MeanR"] == pytest.approx(np.mean(ranks))


def test_ranks_do_not_depend_on_the_block_size():
    rng = np.random.default_rng(0)
    image_groups = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 4, 40)))
    caption_groups = rng.permutation(np.repeat(np.arange(40), rng.integers(5, 8, 40)))
    names = np.array([f"photo {group}" for group in range(40)])
    images = unit(rng, len(image_groups), 12)
    captions = unit(rng, len(caption_groups), 12)
    expected = reference_ranks(images, captions, image_groups, caption_groups)
    for block in (1, 7, 64, 1024):
        got = best_ranks(images, captions, names[image_groups], names[caption_groups], block=block)
        assert got.tolist() == expected
    expected = reference_ranks(captions, images, caption_groups, image_groups)
    assert best_ranks(captions, images, caption_groups, image_groups, block=16).tolist() == expected


def test_ranks_with_many_ties_match_the_reference():
    # coordinates of -1, 0, 1: scores are small integers, so nearly everything ties
    rng = np.random.default_rng(1)
    queries, items = (rng.integers(-1, 2, (rows, 5)).astype(np.float32) for rows in (90, 300))
    queries[:, 0] = items[:, 0] = 1
    query_groups, item_groups = rng.integers(0, 30, 90), np.arange(300) % 30
    expected = reference_ranks(queries, items, query_groups, item_groups)
    for block in (11, 1024):
        assert best_ranks(queries, items, query_groups, item_groups, block=block).tolist() == expected


@pytest.mark.parametrize("width", [3, 100, 1000, 2048])
def test_collapsed_encoder_gets_the_worst_rank(width):
    # every item is the same vector: for every block size and its rounding, all others tie with the correct one
    rng = np.random.default_rng(width)
    vector = np.abs(unit(rng, 1, width))
    queries = np.abs(unit(rng, 25, width))
    items = np.repeat(vector, 203, axis=0)
    for block in (1, 3, 64, 150, 1024):
        ranks = best_ranks(queries, items, np.arange(25), np.arange(203), block=block)
        assert ranks.tolist() == [203] * 25
    # also when the copies differ in their last bits, as from two runs of one encoder
    items *= 1 + rng.choice([-1, 0, 1], (203, 1)).astype(np.float32) * np.float32(2**-23)
    assert (best_ranks(queries, items, np.arange(25), np.arange(203)) == 203).all()


def test_difference_above_rounding_is_not_a_tie():
    queries = np.array([[1.0, 0.0]])
    items = np.array([[0.5, 0.5], [0.50001, 0.5]])
    assert best_ranks(queries, items, [1], [0, 1]).tolist() == [1]
    assert best_ranks(queries, items, [0], [0, 1]).tolist() == [2]


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite"), (0.0, "zero")])
def test_invalid_row_is_reported(bad, word):
    rng = np.random.default_rng(2)
    good, broken = unit(rng, 6, 4), unit(rng, 6, 4)
    broken[4] = 0
    broken[4, 1] = bad
    groups = np.arange(6)
    for call, name in (
        (lambda: best_ranks(broken, good, groups, groups), "queries"),
        (lambda: best_ranks(good, broken, groups, groups), "items"),
        (lambda: retrieval_table(broken, good, groups, groups), "images"),
        (lambda: retrieval_table(good, broken, groups, groups), "captions"),
        (lambda: top_k(good, broken, 2), "items"),
    ):
        with pytest.raises(ValueError, match=f"{name} row 4 is {word}"):
            call()


def test_float64_too_large_for_float32_is_reported():
    with pytest.raises(ValueError, match="items row 0 is infinite or too large"):
        best_ranks([[1.0]], [[1e300]], [0], [0])


def test_query_without_a_correct_item_is_reported():
    with pytest.raises(ValueError, match=r"queries row 1 is of group .*'lost'.* no row in items \(2 such rows\)"):
        best_ranks(np.eye(3), np.eye(3), ["a", "lost", "gone"], ["a", "a", "b"])
    with pytest.raises(ValueError, match=r"captions row 2 is of group .*'b'.* no row in images"):
        retrieval_table(np.eye(3), np.eye(3), ["a", "a", "a"], ["a", "a", "b"])


def test_invalid_shapes_are_reported():
    with pytest.raises(ValueError, match="dimensions, not 2 and 3"):
        best_ranks(np.ones((1, 2)), np.ones((1, 3)), [0], [0])
    with pytest.raises(ValueError, match="items has 2 rows, so its groups"):
        best_ranks(np.eye(2), np.eye(2), [0, 1], [0])
    with pytest.raises(ValueError, match="images must be a matrix"):
        retrieval_table(np.ones(3), np.eye(3), [0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="at least one row"):
        retrieval_table(np.ones((0, 3)), np.eye(3), [], [0, 1, 2])
    for k in (0, 3):
        with pytest.raises(ValueError, match="k must be from 1 to the number of items, 2, not"):
            top_k(np.eye(2), np.eye(2), k)
    with pytest.raises(ValueError, match="block"):
        top_k(np.eye(2), np.eye(2), 1, block=0)


def test_top_k_by_hand():
    indices, scores = top_k(np.eye(3), SCORES.T, 3)
    assert indices.dtype == np.int64 and scores.dtype == np.float32
    assert indices.tolist() == [[0, 2, 3], [0, 3, 2], [1, 2, 3]]  # equal scores: the lower index first
    np.testing.assert_allclose(scores, [[0.9, 0.5, 0.2], [0.9, 0.9, 0.5], [0.3, 0.3, 0.3]], rtol=1e-6)


@pytest.mark.parametrize("block", [1, 13, 1024])
@pytest.mark.parametrize("k", [1, 10, 120])
def test_top_k_matches_a_stable_sort(block, k):
    # integer coordinates: many ties, negative scores and zeros of both signs; sums are exact in every block
    rng = np.random.default_rng(4)
    queries, items = (rng.integers(-2, 3, (rows, 4)).astype(np.float32) for rows in (31, 120))
    queries[:, 0], items[:, 0] = 1, rng.choice([-1, 1], 120)
    scores = queries @ items.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    indices, found = top_k(queries, items, k, block=block)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(found, np.take_along_axis(scores, order, axis=1))


def test_memory_does_not_grow_with_the_square_of_the_gallery():
    rng = np.random.default_rng(5)
    queries, items = unit(rng, 8_000, 8), unit(rng, 8_000, 8)
    groups = np.arange(8_000)
    tracemalloc.start()  # all scores at once are 256 MB
    try:
        ranks = best_ranks(queries, items, groups, groups)
        indices, _ = top_k(queries[:2000], items, 10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80e6
    assert (ranks <= 8_000).all() and indices.shape == (2000, 10)
    # rank 1 and the nearest neighbour must agree
    np.testing.assert_array_equal(ranks[:2000] == 1, indices[:, 0] == groups[:2000])


def test_retrieval_does_not_import_tensorflow():
    code = "import sys, itembed_tf.retrieval; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
