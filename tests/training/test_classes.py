"""Classes of the instance loss: one per group, or clusters of similar groups."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.training.classes import class_labels


def test_without_clusters_every_group_is_a_class():
    labels = class_labels(np.zeros((5, 2), np.float32), np.array([0, 0, 1, 2, 2]), clusters=0, seed=0)
    assert labels.tolist() == [0, 1, 2] and labels.dtype == np.int32


def test_well_separated_clusters_are_found():
    random = np.random.default_rng(0)
    cluster = np.repeat(np.arange(4), 30)
    features = np.eye(4, 16, dtype=np.float32)[cluster] * 20 + random.normal(size=(120, 16)).astype(np.float32)
    order = random.permutation(120)
    labels = class_labels(features[order], np.arange(120), clusters=4, seed=1)
    assert len({(a, b) for a, b in zip(cluster[order].tolist(), labels.tolist(), strict=True)}) == 4
    np.testing.assert_array_equal(labels, class_labels(features[order], np.arange(120), clusters=4, seed=1))


def test_groups_are_clustered_by_the_mean_of_their_images():
    features = np.array([[0.0], [10.0], [4.0], [6.0], [100.0], [101.0]], np.float32)
    labels = class_labels(features, np.array([0, 0, 1, 1, 2, 3]), clusters=2, seed=0)
    assert labels[0] == labels[1] != labels[2] == labels[3]


def test_no_class_is_empty():
    """Ten groups at three distinct points, five clusters. An imprinted classifier needs a member of every class."""
    features = np.repeat(np.array([[0.0], [1.0], [2.0]], np.float32), [4, 3, 3], axis=0)
    labels = class_labels(features, np.arange(10), clusters=5, seed=0)
    assert set(labels.tolist()) == set(range(5))


def test_more_clusters_than_groups_are_refused():
    with pytest.raises(ValueError, match=r"classes.clusters = 4, but there are 3 groups"):
        class_labels(np.zeros((3, 2), np.float32), np.arange(3), clusters=4, seed=0)
