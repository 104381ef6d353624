"""CCA against hand-worked values, scikit-learn, and the textbook eigenproblem on all rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eig
from sklearn.cross_decomposition import CCA

from itembed_tf.sentence_features.cca import Moments, cca, moments


def pairs(rows: int = 400, x: int = 7, y: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Three shared sources plus noise, not centred."""
    random = np.random.default_rng(0)
    shared = random.normal(size=(rows, 3)) * [3.0, 2.0, 1.0]
    sides = [shared @ random.normal(size=(3, width)) + random.normal(size=(rows, width)) for width in (x, y)]
    return sides[0].astype(np.float32) + 100, sides[1].astype(np.float32) - 7


def textbook_cca(x: np.ndarray, y: np.ndarray, eta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions and correlations of [[0, Cxy], [Cyx, 0]] v = r [[Cxx, 0], [0, Cyy]] v."""
    both = np.concatenate([x, y], axis=1, dtype=np.float64)
    c, f = np.cov(both.T, bias=True), x.shape[1]
    across, within = c.copy(), np.zeros_like(c)
    across[:f, :f], across[f:, f:] = 0, 0
    for side in (slice(None, f), slice(f, None)):
        own = c[side, side]
        within[side, side] = own + (eta * np.linalg.eigvalsh(own)[-1] + 1e-8) * np.eye(len(own))
    values, vectors = eig(across, within)
    order = np.argsort(-values.real)[: min(f, y.shape[1])]
    vectors = vectors.real[:, order]
    vectors /= np.sqrt(np.einsum("ij,ik,kj->j", vectors[:f], within[:f, :f], vectors[:f]))
    return vectors[:f], vectors[f:], values.real[order]


@pytest.mark.parametrize("sizes", [(7, 5), (5, 7)])
@pytest.mark.parametrize("eta", [0.0, 1e-3, 0.3])
def test_cca_matches_the_textbook(sizes, eta):
    x, y = pairs(400, *sizes)
    of_x, of_y, correlations = cca(moments([(x, y)]), size=4, regularisation=eta)
    expected_x, expected_y, expected = textbook_cca(x, y, eta)
    np.testing.assert_allclose(correlations, expected[:4], rtol=1e-6)
    for found, directions in ((of_x, expected_x), (of_y, expected_y)):
        np.testing.assert_allclose(np.abs(found.kernel), np.abs(directions * expected)[:, :4], atol=1e-5)
    signs = np.sign(of_x.kernel[0] * expected_x[0, :4])  # one sign for both sides of a direction
    np.testing.assert_allclose(of_y.kernel * signs, (expected_y * expected)[:, :4], atol=1e-5)
    for found, rows in ((of_x, x), (of_y, y)):
        np.testing.assert_allclose(rows.mean(axis=0) @ found.kernel + found.bias, 0, atol=1e-3)
    strongest = np.abs(of_x.kernel).argmax(axis=0)
    assert (of_x.kernel[strongest, range(4)] > 0).all()


def test_correlations_match_scikit_learn():
    x, y = pairs()
    of_x, of_y, correlations = cca(moments([(x, y)]), size=3, regularisation=0.0)
    left, right = CCA(3, max_iter=20000, tol=1e-12).fit(x, y).transform(x, y)
    expected = [np.corrcoef(left[:, i], right[:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(correlations, expected, atol=1e-5)
    ours = x.astype(np.float64) @ of_x.kernel, y.astype(np.float64) @ of_y.kernel
    found = [np.corrcoef(ours[0][:, i], ours[1][:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(ours[0].std(axis=0), correlations, rtol=1e-4)  # variance 1, times the correlation


def test_cca_by_hand():
    # one dimension per side, variances 4 and 9, covariance 3: correlation 1/2; directions 1/2 and 1/3, times 1/2
    one = Moments(10, np.array([6.0]), np.array([0.0]), np.array([[4.0]]), np.array([[9.0]]), np.array([[3.0]]))
    of_x, of_y, correlations = cca(one, size=1, regularisation=0.0)
    assert correlations[0] == pytest.approx(0.5)
    assert of_x.kernel[0, 0] == pytest.approx(0.25) and of_x.bias[0] == pytest.approx(-1.5)
    assert of_y.kernel[0, 0] == pytest.approx(1 / 6) and of_y.bias[0] == 0
    # eta 1: variances 8 and 18, correlation 3 / 12
    assert cca(one, size=1, regularisation=1.0)[2][0] == pytest.approx(0.25)


@pytest.mark.parametrize("batch", [1, 7, 400])
def test_covariances_do_not_depend_on_batch_size(batch):
    """Means of 1,000 times the standard deviation lose no precision; empty batches are ignored."""
    x, y = pairs()
    x = x + 1000
    cut = [(x[i : i + batch], y[i : i + batch]) for i in range(0, 400, batch)]
    found = moments(iter([*cut, (x[:0], y[:0])]))
    expected = np.cov(np.concatenate([x, y], axis=1, dtype=np.float64).T, bias=True)
    together = np.block([[found.xx, found.xy], [found.xy.T, found.yy]])
    np.testing.assert_allclose(together, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.x_mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)
    assert found.count == 400


def test_invalid_input_is_refused():
    x, y = pairs()
    found = moments([(x, y)])
    with pytest.raises(ValueError, match=r"CCA of 7 and 5 dimensions has 5 directions, embedding_size is 6; .* 5 or"):
        cca(found, size=6, regularisation=0.0)
    with pytest.raises(ValueError, match="at least 2 pairs of rows, got 1"):
        moments([(x[:1], y[:1])])
    with pytest.raises(ValueError, match="400 rows on one side and 399"):
        moments([(x, y[:-1])])
    singular = np.concatenate([x, x], axis=1) * 1000
    with pytest.raises(ValueError, match=r"singular with cca\.regularisation = 0\.0; raise it"):
        cca(moments([(singular, y)]), size=2, regularisation=0.0)
    assert cca(moments([(singular, y)]), size=2, regularisation=1e-6)[2][0] > 0.9
