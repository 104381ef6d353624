"""Drawn embeddings of images and captions with hubs, for tests of calibration."""

from __future__ import annotations

import numpy as np

from itembed_tf.evaluation.calibration import Side


def sides(groups: int, seed: int) -> tuple[Side, Side]:
    """Images and three captions each, all captions drawn towards one direction in which some images lie."""
    random, common = np.random.default_rng(seed), np.random.default_rng(99).normal(size=24)
    images = random.normal(size=(groups, 24))
    captions = np.repeat(images, 3, axis=0) + 1.5 * random.normal(size=(3 * groups, 24)) + common
    images[::10] += 1.5 * common
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (images, captions)]
    return Side(unit[0], np.arange(groups)), Side(unit[1], np.repeat(np.arange(groups), 3))
