"""The bootstrap against intervals that are known: by hand, by the binomial law, and by how often they hold."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.retrieval import interval_95, resampled_means


def test_values_that_do_not_differ_have_an_interval_of_no_width():
    draws = resampled_means(np.full((30, 1), 0.25), np.arange(30) % 7, 7)
    np.testing.assert_allclose(interval_95(draws), [[0.25, 0.25]])


def test_two_clusters_by_hand():
    # drawn twice from {0, 0, 0} and {1}: both from the first 1/4, both from the second 1/4, one of each 1/2 -> mean 1/4
    draws = resampled_means(np.array([[0.0], [0], [0], [1]]), np.array([0, 0, 0, 1]), 2, resamples=20_000)
    values, times = np.unique(draws, return_counts=True)
    assert values.tolist() == [0, 0.25, 1]
    assert times / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_independent_queries_give_the_binomial_interval():
    # 300 of 1,000 found: 1.96 standard errors are 1.96 * sqrt(0.3 * 0.7 / 1000) = 0.0284
    found = np.zeros((1000, 1))
    found[:300] = 1
    low, high = interval_95(resampled_means(found, np.arange(1000), 1000))[0]
    assert (low, high) == pytest.approx((0.3 - 0.0284, 0.3 + 0.0284), abs=0.003)


def test_captions_of_one_picture_are_not_five_pictures():
    # five captions that are all found or all not: as sure as the 200 pictures, sqrt(5) less sure than 1,000 queries
    found = np.repeat(np.arange(200) < 60, 5)[:, None]
    clustered = interval_95(resampled_means(found, np.repeat(np.arange(200), 5), 200))[0]
    single = interval_95(resampled_means(found, np.arange(1000), 1000))[0]
    assert np.diff(clustered) / np.diff(single) == pytest.approx(np.sqrt(5), rel=0.1)


def test_two_calls_draw_the_same_clusters():
    clusters = np.array([0, 1, 2, 2])
    one = resampled_means(np.array([[1.0], [2], [4], [4]]), clusters, 3)
    other = resampled_means(np.array([[1.0], [2], [4], [4]]) + 10, clusters, 3)
    np.testing.assert_allclose(other - one, 10)
    assert not np.array_equal(one, resampled_means(np.array([[1.0], [2], [4], [4]]), clusters, 3, seed=1))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """250 data sets of 150 pictures with five captions whose chance of being found is the picture's own, mean 0.4."""
    draws = np.random.default_rng(0)
    clusters, held = np.repeat(np.arange(150), 5), {"clustered": 0, "one by one": 0}
    for _ in range(250):
        chance = draws.beta(0.8, 1.2, 150)
        found = (draws.random(750) < np.repeat(chance, 5))[:, None]
        for name, own, count in (("clustered", clusters, 150), ("one by one", np.arange(750), 750)):
            low, high = interval_95(resampled_means(found, own, count, resamples=200))[0]
            held[name] += low <= 0.4 <= high
    assert 0.91 <= held["clustered"] / 250 <= 0.98
    assert held["one by one"] / 250 < 0.85
