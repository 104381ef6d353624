"""Chance level: by hand, and against shuffled galleries."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.retrieval import chance_figures, chance_ranks, chance_recall


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
