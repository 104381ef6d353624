"""Bands by hand, and what a band promises against what is found elsewhere."""

from __future__ import annotations

import numpy as np

from itembed_tf.retrieval.bands import LOWEST, band_of, fit_bands, shown_hits


def test_bands_by_hand():
    # 100 hits each: 90, 60, 30, 25 and 5 of 100 right
    shares = (90, 60, 30, 25, 5)
    right = np.concatenate([np.arange(100) < share for share in shares])
    scores = np.linspace(1, 0.001, 500).astype(np.float32)
    bands = fit_bands(scores, right)
    assert [(band.name, band.right, band.hits) for band in bands] == [
        ("strong", 150, 200),
        ("likely", 55, 200),
        ("weak", 5, 100),
    ]
    assert bands[0].threshold == scores[199] and bands[2].threshold == LOWEST
    assert [band_of(bands, score) for score in (0.99, 0.5, -1.0)] == ["strong", "likely", "weak"]
    assert bands[0].describe() == "strong: 8 of 10 were right on dev"
    assert bands[2].describe() == "weak: 5 of 100 were right on dev"


def test_a_share_that_rises_as_the_score_falls_is_pooled():
    right = np.concatenate([np.arange(100) < share for share in (40, 80, 0)])
    bands = fit_bands(np.linspace(1, 0, 300).astype(np.float32), right)
    assert [(band.name, band.right, band.hits) for band in bands] == [("strong", 120, 200), ("weak", 0, 100)]


def test_a_weak_model_has_no_strong_band_and_few_hits_have_none():
    scores = np.linspace(1, 0, 400).astype(np.float32)
    assert [band.name for band in fit_bands(scores, np.arange(400) % 10 == 0)] == ["weak"]
    assert fit_bands(scores[:99], np.ones(99, bool)) == ()
    assert band_of((), 0.9) == ""
    assert [band.name for band in fit_bands(scores, np.ones(400, bool))] == ["strong", "weak"]


def test_shown_hits_are_the_best_ones():
    scores = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]], np.float32)
    found, right = shown_hits(np.tile(scores, (1, 5)), np.array([1, 0]), np.tile([0, 1, 2], 5))
    assert found.shape == (2, 10) and right.sum(axis=1).tolist() == [5, 5]
    assert sorted(found[0].tolist(), reverse=True)[:5] == [np.float32(0.9)] * 5


def test_promised_precision_is_found_on_other_queries():
    random = np.random.default_rng(0)
    scores = random.normal(size=20000).astype(np.float32)
    right = random.random(20000) < 1 / (1 + np.exp(2 - 1.5 * scores))
    bands = fit_bands(scores[:10000], right[:10000])
    names = np.array([band_of(bands, score) for score in scores[10000:]])
    assert [band.name for band in bands] == ["strong", "likely", "weak"]
    for band in bands:
        assert abs(right[10000:][names == band.name].mean() - band.precision) < 0.05
