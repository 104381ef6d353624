"""Chance level: by hand, and against shuffled galleries."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.retrieval import chance_figures, chance_ranks, chance_recall, retrieval_table, with_chance


def test_chance_recall_by_hand():
    assert chance_recall(np.array([1]), 10, 5) == pytest.approx(50)
    assert chance_recall(np.array([2]), 4, 2) == pytest.approx(100 * (1 - (2 / 4) * (1 / 3)))
    assert chance_recall(np.array([1, 3]), 3, 10) == pytest.approx(100)
    assert chance_figures(np.array([1, 1]), 20)["R@10"] == pytest.approx(50)


def test_chance_ranks_match_shuffled_galleries():
    generator = np.random.default_rng(0)
    firsts = np.array([np.flatnonzero(generator.permutation(41) < 5)[0] + 1 for _ in range(4000)])
    median, mean = chance_ranks(np.array([5]), 41)
    assert mean == 7 and abs(firsts.mean() - mean) < 0.3 and abs(np.median(firsts) - median) <= 1


def test_a_table_with_the_chance_level_of_its_groups():
    """Two groups: one image with two captions, two images with one."""
    images, captions = np.array([0, 1, 1]), np.array([0, 0, 1])
    plain = retrieval_table(np.eye(3), np.eye(3), images, captions)
    table = with_chance(plain, images, captions)
    assert table.image_query.values == plain.image_query.values
    assert table.image_query.chance["R@1"] == pytest.approx(100 * (2 + 1 + 1) / 9)  # correct captions of each image
    assert table.text_query.chance["R@1"] == pytest.approx(100 * (1 + 1 + 2) / 9)
    assert table.text_query.correct_answers == pytest.approx(4 / 3)
    ten = np.arange(10)
    small = with_chance(retrieval_table(np.eye(10), np.eye(10), ten, ten), ten, ten)
    assert [small.image_query.chance[k] for k in ("R@1", "R@5", "R@10")] == pytest.approx([10, 50, 100])
