"""Banks, similarity of captions by hand, and a calibration of drawn embeddings with hubs."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.evaluation.calibration import (
    bank_rows,
    calibrate,
    caption_similarity,
    describe_calibration,
    far_limit,
)
from itembed_tf.retrieval import Correction, biases
from tests.support.drawn_embeddings import sides


def test_a_bank_has_as_many_groups_as_possible():
    groups = np.repeat(np.arange(10), 5)
    assert sorted(groups[bank_rows(groups, 10)].tolist()) == list(range(10))
    counts = np.bincount(groups[bank_rows(groups, 25)], minlength=10)
    assert counts.min() == 2 and counts.max() == 3
    assert bank_rows(groups, 1000).tolist() == list(range(50))


def test_similarity_of_captions_by_hand():
    # words 1 and 2 are in one group of two each, word 3 is in both and weighs nothing
    ids = np.array([[1, 3, 0], [2, 3, 0], [1, 0, 0]])
    similarity = caption_similarity(np.array([4, 7, 7]), np.array([4, 7, 4]), ids)
    np.testing.assert_allclose(similarity, [[1, 0, 0], [0, 1, 1], [0, 1, 1]], atol=1e-6)


@pytest.fixture(scope="module")
def measured():
    train, dev = sides(400, 0), sides(200, 1)
    ids = np.random.default_rng(2).integers(1, 50, (600, 5))
    return calibrate("c", *train, *dev, ids), train, dev


def test_correction_chosen_on_dev_helps(measured):
    calibration, _, _ = measured
    figures = calibration.figures["text_to_image"]
    assert calibration.corrections["text_to_image"].a > 0 and figures["corrected"] > figures["plain"] + 10
    assert calibration.figures["gallery"] == {"images": 200, "captions": 600}
    assert calibration.captions.vectors.dtype == np.float16 and len(calibration.captions.vectors) == 1200
    lines = describe_calibration(calibration)
    assert lines[0].startswith("text → image: R@1 + R@5 + R@10 ") and "(dev, on which a = " in lines[0]
    assert any("were right on dev" in line for line in lines)


def test_bands_hold_what_they_say_on_the_scores_that_a_search_has(measured):
    calibration, _, (images, captions) = measured
    by_text, _ = calibration.item_biases(images.vectors, "image")
    np.testing.assert_allclose(
        by_text, biases(images.vectors, calibration.captions, calibration.corrections["text_to_image"]), atol=1e-6
    )
    scores = captions.vectors @ images.vectors.T - by_text
    order = np.argsort(-scores, axis=1)[:, :10]
    names = np.array(
        [[calibration.band("text_to_image", s) for s in row] for row in np.take_along_axis(scores, order, 1)]
    )
    right = captions.groups[:, None] == images.groups[order]
    for band in calibration.bands["text_to_image"]:
        assert right[names == band.name].sum() == band.right and (names == band.name).sum() == band.hits


def test_far_queries(measured):
    calibration, (_, train), (_, dev) = measured
    assert calibration.far["text"] == far_limit(dev, train.bank())
    assert calibration.is_far("text", dev.vectors).mean() == pytest.approx(0.01, abs=0.005)
    assert calibration.is_far("text", -dev.vectors).mean() > 0.5


def test_captions_without_a_known_word_and_images_without_captions_are_left_out():
    train, dev = sides(40, 0), sides(30, 1)
    ids = np.ones((90, 2), int)
    ids[:3] = 0  # all captions of the first image
    assert calibrate("c", *train, *dev, ids).figures["gallery"] == {"images": 29, "captions": 87}


def test_a_small_dev_only_decides_whether_to_correct():
    train, dev = sides(400, 0), sides(60, 1)
    corrections = calibrate("c", *train, *dev, np.ones((180, 2), int)).corrections
    assert corrections["text_to_image"] == Correction(0.5, 32)
    assert all(each.a in (0.0, 0.5) for each in corrections.values())
