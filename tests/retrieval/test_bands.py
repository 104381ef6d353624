"""Bands by hand, and what a band promises against what is found elsewhere."""

from __future__ import annotations

import numpy as np

from itembed_tf.retrieval.bands import LOWEST, Band, band_of, fit_bands, shown_hits


def hits(*tenths: int) -> tuple[np.ndarray, np.ndarray]:
    """200 hits for each number, of descending score, so many tenths of which are right, evenly."""
    right = np.concatenate([np.arange(200) % 10 < share for share in tenths])
    return np.linspace(1, 0.001, len(right)).astype(np.float32), right


def test_bands_by_hand():
    scores, right = hits(9, 6, 3, 3, 0)
    bands = fit_bands(scores, right)
    assert [(band.name, band.right, band.hits) for band in bands] == [
        ("strong", 300, 400),
        ("likely", 120, 400),
        ("weak", 0, 200),
    ]
    assert bands[0].threshold == scores[399] and bands[1].threshold == scores[799] and bands[2].threshold == LOWEST
    assert [band_of(bands, score) for score in (0.99, 0.5, -1.0)] == ["strong", "likely", "weak"]
    assert bands[0].describe() == "strong: 8 of 10 were right on dev"
    assert Band("weak", LOWEST, 5, 100).describe() == "weak: 5 of 100 were right on dev"


def test_a_share_that_rises_as_the_score_falls_is_pooled():
    bands = fit_bands(*hits(4, 8, 0))
    assert [(band.name, band.right, band.hits) for band in bands] == [("strong", 240, 400), ("weak", 0, 200)]


def test_a_weak_model_has_no_strong_band_and_few_hits_have_none():
    assert [band.name for band in fit_bands(*hits(1, 1))] == ["weak"]
    scores, right = hits(9)
    assert fit_bands(scores[:99], right[:99]) == ()
    assert band_of((), 0.9) == ""
    assert [(band.name, band.hits) for band in fit_bands(*hits(9, 9))] == [("strong", 400), ("weak", 0)]


def test_chance_makes_no_promise_that_it_does_not_keep():
    """Of hits that are all right with 45 %, some hundred always look better; no band may be built on them."""
    random = np.random.default_rng(3)
    for _ in range(20):
        scores, right = random.normal(size=(500, 4)).astype(np.float32), random.random((500, 4)) < 0.45
        bands = fit_bands(scores, right)
        assert [band.name for band in bands] == ["likely", "weak"] and abs(bands[0].precision - 0.45) < 0.05


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
