"""Biases by hand, the banks' own rows, and the choice of a and k."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.retrieval import hubness
from itembed_tf.retrieval.hubness import Bank, Correction, biases, choose_correction, neighbour_means, own_groups


def bank(*rows: list[float], groups: list[int] | None = None) -> Bank:
    return Bank(np.array(rows, np.float32), np.array(groups or range(len(rows)), np.int32))


def test_bias_is_a_times_the_mean_of_the_k_highest_cosines():
    items = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    queries = bank([1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, -1.0])
    # cosines of the first item: 1, 0.8, 0.6, 0; of the second: 0, 0.6, 0.8, -1
    np.testing.assert_allclose(biases(items, queries, Correction(0.5, 2)), [0.45, 0.35], rtol=1e-6)
    np.testing.assert_allclose(neighbour_means(items, queries, (1, 3, 9)), [[1, 0.8, 0.6], [0.8, 1.4 / 3, 0.1]], 1e-6)
    assert biases(items, queries, Correction(0.0, 2)).tolist() == [0, 0]


def test_rows_of_the_own_group_do_not_count():
    items = np.array([[1.0, 0.0]] * 2, np.float32)
    queries = bank([1.0, 0.0], [0.8, 0.6], [0.6, 0.8], groups=[7, 7, 8])
    own = np.array([7, -1])
    np.testing.assert_allclose(biases(items, queries, Correction(1.0, 2), own), [0.6, 0.9], rtol=1e-6)


def test_a_gallery_image_that_is_in_the_bank_is_recognised():
    images = bank([1.0, 0.0], [0.0, 1.0], groups=[4, 9])
    rounded = np.array([[0.0, 1.0], [0.8, 0.6], [1.0, 1e-4]], np.float16)
    assert own_groups(rounded, images).tolist() == [9, -1, 4]


@pytest.mark.parametrize("block", [1, 3, 2048])
def test_blocks_do_not_change_the_biases(block, monkeypatch):
    random = np.random.default_rng(0)
    items, queries = random.normal(size=(10, 8)).astype(np.float32), random.normal(size=(17, 8)).astype(np.float32)
    whole = np.sort(items @ queries.T, axis=1)[:, -5:].mean(axis=1)
    monkeypatch.setattr(hubness, "BLOCK", block)
    np.testing.assert_allclose(biases(items, bank(*queries.tolist()), Correction(1.0, 5)), whole, rtol=1e-5)


def hub_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Queries around their items and all towards one direction, in which one item, a hub, also lies."""
    random = np.random.default_rng(1)
    items, common = random.normal(size=(40, 32)), random.normal(size=32)
    items[0] += 1.5 * common
    queries = np.repeat(items, 8, axis=0) + 2.2 * random.normal(size=(320, 32)) + common
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (queries, items)]
    return unit[0], unit[1], np.repeat(np.arange(40), 8), np.arange(40)


def test_correction_chosen_on_some_queries_helps_others():
    queries, items, groups, item_groups = hub_data()
    even, odd = np.arange(0, 320, 2), np.arange(1, 320, 2)
    train = Bank(queries[even], np.full(160, -2, np.int32))
    choice = choose_correction(queries[even], items, groups[even], item_groups, train)
    assert choice.correction.a > 0 and choice.corrected > choice.plain
    fixed = {"a_values": [choice.correction.a], "k_values": [choice.correction.k]}
    other = choose_correction(queries[odd], items, groups[odd], item_groups, train, **fixed)
    assert other.corrected > other.plain + 10


def test_without_a_gain_nothing_is_corrected():
    items = np.eye(4, dtype=np.float32)
    choice = choose_correction(items, items, range(4), range(4), bank(*items.tolist()))
    assert choice.correction.a == 0 and choice.plain == choice.corrected == 300


def test_an_empty_bank_is_refused():
    with pytest.raises(ValueError, match="m at least 1"):
        biases(np.eye(2, dtype=np.float32), Bank(np.zeros((0, 2)), np.zeros(0, np.int32)), Correction(1.0, 1))
