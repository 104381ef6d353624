"""Sentence features against references: tf-idf of scikit-learn, a mixture in plain loops, finite differences."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer

from itembed_tf.sentence_features import hglmm
from itembed_tf.sentence_features.fitting import fit_sentences
from itembed_tf.sentence_features.hglmm import Mixture, fit_mixture, maximise, posteriors
from itembed_tf.sentence_features.layers import sentence_features

WORDS, LENGTH, WIDTH = 40, 6, 5
SETTINGS: dict[str, Any] = {"words": 3000, "components": 3, "size": 0}


def vectors(seed: int = 0) -> np.ndarray:
    """Word vectors with Gaussian and Laplacian dimensions; row 0 is padding."""
    random = np.random.default_rng(seed)
    table = np.where(random.random((WORDS, WIDTH)) < 0.5, random.normal(size=(WORDS, WIDTH)), 0)
    table += random.laplace(size=(WORDS, WIDTH)) + random.integers(0, 2, (WORDS, 1)) * 4
    table[0] = 0
    return table.astype(np.float32)


def caption_ids(count: int = 60, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    ids = random.integers(1, WORDS, (count, LENGTH)).astype(np.int32)
    ids[np.arange(LENGTH) >= random.integers(1, LENGTH + 1, count)[:, None]] = 0
    return ids


def fitted(kind: str, ids: np.ndarray | None = None, table: np.ndarray | None = None, **changes: Any) -> keras.Model:
    settings = SETTINGS | changes
    model = sentence_features(kind=kind, **settings, vocabulary_size=WORDS, word_width=WIDTH, length=LENGTH)
    ids, table = caption_ids() if ids is None else ids, vectors() if table is None else table
    fit_sentences(model, ids, table, components=settings["components"], size=settings["size"], seed=0)
    return model


def reference_density(x: float, location: float, scale: float, laplacian: bool) -> float:
    if laplacian:
        return math.exp(-abs(x - location) / scale) / (2 * scale)
    return math.exp(-((x - location) ** 2) / (2 * scale**2)) / (scale * math.sqrt(2 * math.pi))


def reference_joint(x: np.ndarray, m: Mixture, k: int) -> float:
    found = m.weights[k]
    for j, value in enumerate(x):
        found *= reference_density(value, m.location[k, j], m.scale[k, j], m.laplacian[k, j])
    return found


def reference_maximise(x: np.ndarray, shares: np.ndarray) -> Mixture:
    """The M step by definition: every value is tried as median, every dimension as both kinds."""
    count, width = shares.shape[1], x.shape[1]
    weights = np.array([shares[:, k].sum() / shares.sum() for k in range(count)])
    location, scale, laplacian = (np.empty((count, width)) for _ in range(3))
    for k in range(count):
        share = shares[:, k]
        for j in range(width):
            column = x[:, j]
            mean = sum(share * column) / sum(share)
            deviation = math.sqrt(sum(share * (column - mean) ** 2) / sum(share))
            median = min(column, key=lambda value: sum(share * abs(column - value)))
            spread = sum(share * abs(column - median)) / sum(share)
            log_likelihoods = {
                kind: sum(s * math.log(reference_density(v, *at, kind)) for s, v in zip(share, column, strict=True))
                for kind, at in ((True, (median, spread)), (False, (mean, deviation)))
            }
            laplacian[k, j] = log_likelihoods[True] > log_likelihoods[False]
            location[k, j], scale[k, j] = (median, spread) if laplacian[k, j] else (mean, deviation)
    return Mixture(weights, location, scale, laplacian.astype(bool))


def test_em_matches_plain_loops():
    x, random = vectors()[1:].astype(np.float64), np.random.default_rng(3)
    shares = random.dirichlet(np.full(3, 0.1), len(x))
    kinds = set()
    for _ in range(4):
        ours, reference = maximise(x, shares), reference_maximise(x, shares)
        kinds |= set(ours.laplacian.ravel().tolist())
        np.testing.assert_array_equal(ours.laplacian, reference.laplacian)
        for name in ("weights", "location", "scale"):
            np.testing.assert_allclose(getattr(ours, name), getattr(reference, name), atol=1e-5)
        shares = posteriors(x, ours)
        joint = np.array([[reference_joint(row, reference, k) for k in range(3)] for row in x])
        np.testing.assert_allclose(shares, joint / joint.sum(axis=1, keepdims=True), atol=1e-5)
    assert kinds == {True, False}


def likelihood(x: np.ndarray, m: Mixture) -> float:
    return sum(math.log(sum(reference_joint(row, m, k) for k in range(len(m.weights)))) for row in x)


def test_em_increases_the_likelihood(monkeypatch):
    x = vectors()[1:].astype(np.float64)
    found = []
    for rounds in (0, 1, 5, 20):
        monkeypatch.setattr(hglmm, "ITERATIONS", rounds)
        found.append(likelihood(x, fit_mixture(x, components=3, seed=0)))
    assert found == sorted(found) and found[-1] > found[0] + 1


def test_fisher_vector_matches_finite_differences():
    """By finite differences of the log-likelihood, in units of the Fisher information of each kind."""
    model, ids = fitted("hglmm"), caption_ids(8, seed=7)
    table, prior, location, scale, laplacian = (w.astype(np.float64) for w in model.layers[1].get_weights())
    m = Mixture(prior, location, scale, laplacian.astype(bool))
    expected = []
    for row in ids:
        x, parts = table[row[row > 0]], []
        for k, j in np.ndindex(3, WIDTH):
            for name in ("location", "scale"):
                slopes = []
                for step in (1e-6, -1e-6):
                    values = getattr(m, name).copy()
                    values[k, j] += step
                    slopes.append(likelihood(x, Mixture(**{**vars(m), name: values})))
                information = 2.0 if name == "scale" and not m.laplacian[k, j] else 1.0
                slope = (slopes[0] - slopes[1]) / 2e-6 * m.scale[k, j] / math.sqrt(information * m.weights[k])
                parts.append(slope)
        by_place = np.array(parts).reshape(3, WIDTH, 2).transpose(0, 2, 1).reshape(-1)
        rooted = np.sign(by_place) * np.sqrt(np.abs(by_place))
        expected.append(rooted / np.linalg.norm(rooted))
    # The slope is not unique at the median of a component; the layer takes the middle, as finite differences do.
    np.testing.assert_allclose(model(ids), expected, atol=2e-3)
    squares = [np.sign(v) * np.square(v) for v in (np.asarray(model(ids)), np.array(expected))]
    np.testing.assert_allclose(*squares, atol=1e-5)  # before the root, which amplifies small differences


def test_fisher_vector_ignores_padding_and_empty_captions():
    model = fitted("hglmm", components=4)
    assert model.output.shape == (None, 2 * 4 * WIDTH)
    ids = np.array([[3, 9, 0, 0, 0, 0], [0, 3, 0, 9, 0, 0], [3, 9, 3, 9, 0, 0], [0] * 6], np.int32)
    found = np.asarray(model(ids))
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)  # the number of words has no effect
    assert np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-5) and not found[3].any()


def test_tf_idf_matches_scikit_learn():
    ids = caption_ids()
    model = fitted("tf-idf", ids, words=20)
    texts = [" ".join(f"w{i:02d}" for i in row if i) for row in ids]
    peer = TfidfVectorizer()
    peer.fit(texts)
    place = model.layers[1].get_weights()[0]
    kept = [int(word[1:]) for word in peer.get_feature_names_out() if place[int(word[1:])]]
    df = {i: sum(i in row for row in ids) for i in range(1, WORDS)}
    assert len(kept) == 20 and min(df[i] for i in kept) >= max(df[i] for i in range(1, WORDS) if i not in kept)
    peer = TfidfVectorizer(vocabulary=[f"w{i:02d}" for i in kept]).fit(texts)
    np.testing.assert_allclose(model(ids), peer.transform(texts).toarray(), atol=1e-5)


def test_mean_vector():
    table = vectors()
    model = fitted("mean", table=table)
    found = model(np.array([[3, 9, 3, 0, 0, 0], [0] * 6], np.int32))
    np.testing.assert_allclose(found[0], (2 * table[3] + table[9]) / 3, atol=1e-6)
    assert not np.asarray(found[1]).any()


@pytest.mark.parametrize("kind", ["tf-idf", "hglmm"])
def test_pca_is_fitted_on_training_captions_only(kind):
    ids, others = caption_ids(), caption_ids(seed=5)
    plain, short = fitted(kind, ids), fitted(kind, ids, size=4)
    assert short.output.shape == (None, 4)
    peer = PCA(4, svd_solver="full").fit(np.asarray(plain(ids), np.float64))
    expected = peer.transform(np.asarray(plain(others), np.float64))
    found = np.asarray(short(others))
    np.testing.assert_allclose(found * np.sign((found * expected).sum(axis=0)), expected, atol=1e-4)


def test_sentence_features_are_never_trainable():
    model = fitted("hglmm", size=4)
    model.trainable = False
    model.trainable = True
    assert not model.trainable_variables and len(model.variables) == 7


def test_fitting_is_deterministic():
    for one, two in zip(fitted("hglmm", size=4).get_weights(), fitted("hglmm", size=4).get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("kind", "changes", "table", "message"),
    [
        ("bag", {}, True, "tf-idf, mean, hglmm"),
        ("mean", {"size": 6}, True, r"sentence\.size is 6.*5 dimensions"),
        ("hglmm", {"components": 50}, True, r"sentence\.components is 50, but only 39 words"),
        ("mean", {}, False, r"word_vectors\.source = \"random\""),
    ],
)
def test_settings_that_cannot_be_fitted_are_refused(kind, changes, table, message):
    settings = SETTINGS | changes
    with pytest.raises(ValueError, match=message):
        model = sentence_features(kind=kind, **settings, vocabulary_size=WORDS, word_width=WIDTH, length=LENGTH)
        word_vectors = vectors() if table else None
        sizes = {"components": settings["components"], "size": settings["size"]}
        fit_sentences(model, caption_ids(), word_vectors, **sizes, seed=0)
