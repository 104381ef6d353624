"""Maps by hand, the choice between them, and the recall that is promised."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.index.bridge import fit_bridge, nearest, overlap, unit


def gaussian(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


NONE = np.zeros((0, 12), np.float32)


def test_a_rotation_is_recovered_from_few_items_by_the_orthogonal_map():
    rotation, _ = np.linalg.qr(gaussian(12, 12, 0))
    old = unit(gaussian(80, 12, 1))
    bridge = fit_bridge(old, old @ rotation, NONE)
    others = unit(gaussian(200, 12, 2))
    np.testing.assert_allclose(bridge.map(others), others @ rotation, atol=2e-3)
    assert bridge.kind == "orthogonal" and bridge.learned == 80 and bridge.recall > 0.99 and bridge.cosine > 0.999


def test_a_map_that_stretches_into_more_dimensions_needs_the_ridge():
    stretched = gaussian(12, 20, 0) * np.geomspace(10, 0.1, 12)[:, None].astype(np.float32)
    old = unit(gaussian(600, 12, 1))
    bridge = fit_bridge(old, unit(old @ stretched), np.zeros((0, 20), np.float32))
    others = unit(gaussian(100, 12, 2))
    assert bridge.kind == "ridge" and bridge.matrix.shape == (12, 20)
    assert np.einsum("ij,ij->i", bridge.map(others), unit(others @ stretched)).mean() > 0.95
    np.testing.assert_allclose(np.linalg.norm(bridge.map(others), axis=1), 1, atol=1e-5)


def test_promised_recall_is_found_on_items_that_were_never_seen():
    old = unit(gaussian(2000, 12, 1))
    noisy = unit(old @ gaussian(12, 12, 0) + 0.8 * gaussian(2000, 12, 3))
    queries = unit(gaussian(300, 12, 4))
    bridge = fit_bridge(old[:1000], noisy[:1000], queries)
    found = overlap(nearest(queries, noisy[1000:1200]), nearest(queries, bridge.map(old[1000:1200])))
    assert bridge.held_out == 200 and 0.2 < bridge.recall < 0.9
    assert found == pytest.approx(bridge.recall, abs=0.05)


def test_texts_help_where_items_are_few_and_are_left_out_where_they_mislead():
    mixing = gaussian(12, 12, 0)
    old, queries = unit(gaussian(200, 12, 1)), unit(gaussian(300, 12, 4))
    new = unit(old @ mixing + 0.3 * gaussian(200, 12, 3))
    said = unit(gaussian(500, 12, 5) + 2)  # texts have another mean than images
    texts = said, unit(said @ mixing)
    others = unit(gaussian(400, 12, 6))
    right = nearest(queries, unit(others @ mixing))
    found = {}
    for name, pairs in (("without", None), ("with", texts), ("misleading", (said, gaussian(500, 12, 7)))):
        bridge = fit_bridge(old[:30], new[:30], queries, texts=pairs)
        found[name] = overlap(right, nearest(queries, bridge.map(others)))
        assert (bridge.text_weight > 0) == (name == "with"), name
    assert found["with"] > found["without"] + 0.05 and found["misleading"] == found["without"]


def test_overlap_by_hand():
    assert overlap(np.array([[1, 2], [3, 4]]), np.array([[2, 9], [4, 3]])) == 0.75


def test_too_few_items_are_refused():
    with pytest.raises(ValueError, match="at least 24 items"):
        fit_bridge(gaussian(23, 12, 0), gaussian(23, 12, 1), NONE)
