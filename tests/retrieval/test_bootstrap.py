"""Bootstrap intervals: by hand, against the binomial distribution, and by coverage."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.retrieval import interval_95, resampled_means


def test_constant_values_have_an_interval_of_width_zero():
    draws = resampled_means(np.full((30, 1), 0.25), np.arange(30) % 7, 7)
    np.testing.assert_allclose(interval_95(draws), [[0.25, 0.25]])


def test_two_clusters_by_hand():
    # drawn twice from {0, 0, 0} and {1}: both from the first 1/4, both from the second 1/4, one of each 1/2 -> mean 1/4
    draws = resampled_means(np.array([[0.0], [0], [0], [1]]), np.array([0, 0, 0, 1]), 2, resamples=20_000)
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [0, 0.25, 1]
    assert counts / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_independent_queries_give_the_binomial_interval():
    # 300 hits of 1,000: 1.96 standard errors are 1.96 * sqrt(0.3 * 0.7 / 1000) = 0.0284
    hits = np.zeros((1000, 1))
    hits[:300] = 1
    low, high = interval_95(resampled_means(hits, np.arange(1000), 1000))[0]
    assert (low, high) == pytest.approx((0.3 - 0.0284, 0.3 + 0.0284), abs=0.003)


def test_captions_of_one_image_are_not_independent():
    # five captions with one outcome: the interval of 200 images, sqrt(5) times as wide as that of 1,000 queries
    hits = np.repeat(np.arange(200) < 60, 5)[:, None]
    clustered = interval_95(resampled_means(hits, np.repeat(np.arange(200), 5), 200))[0]
    single = interval_95(resampled_means(hits, np.arange(1000), 1000))[0]
    assert np.diff(clustered) / np.diff(single) == pytest.approx(np.sqrt(5), rel=0.1)


def test_two_calls_draw_the_same_clusters():
    clusters = np.array([0, 1, 2, 2])
    one = resampled_means(np.array([[1.0], [2], [4], [4]]), clusters, 3)
    other = resampled_means(np.array([[1.0], [2], [4], [4]]) + 10, clusters, 3)
    np.testing.assert_allclose(other - one, 10)
    assert not np.array_equal(one, resampled_means(np.array([[1.0], [2], [4], [4]]), clusters, 3, seed=1))


def test_coverage_of_the_interval():
    """250 datasets of 150 images with five captions each, which share the image's probability of a hit, mean 0.4."""
    draws = np.random.default_rng(0)
    clusters, covered = np.repeat(np.arange(150), 5), {"clustered": 0, "single queries": 0}
    for _ in range(250):
        chance = draws.beta(0.8, 1.2, 150)
        hits = (draws.random(750) < np.repeat(chance, 5))[:, None]
        for name, own, count in (("clustered", clusters, 150), ("single queries", np.arange(750), 750)):
            low, high = interval_95(resampled_means(hits, own, count, resamples=200))[0]
            covered[name] += low <= 0.4 <= high
    assert 0.91 <= covered["clustered"] / 250 <= 0.98
    assert covered["single queries"] / 250 < 0.85
