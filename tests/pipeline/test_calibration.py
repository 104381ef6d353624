"""A training calibrates on its cached features what an export calibrates on decoded images."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.config import arguments, load_config
from itembed_tf.data.readers import read_dataset
from itembed_tf.exporting import load_pair
from itembed_tf.pipeline.calibration import calibrate_run
from itembed_tf.training.frozen_outputs import image_features

pytestmark = pytest.mark.usefixtures("shallow_backbone")


def test_cached_features_give_the_same_calibration(small_run: Path) -> None:
    config, (model, pair) = load_config(small_run / "config.toml"), load_pair(small_run)
    groups = read_dataset(**arguments(config.dataset))
    by_split = {split: [group for group in groups if group.split == split] for split in ("train", "dev")}
    features = partial(image_features, config, model, views=2, mirror=True)
    cached = calibrate_run(config, pair, model, by_split, features)
    decoded = calibrate_run(config, pair, model, by_split, None)
    assert cached is not None and decoded is not None and cached.contract == pair.contract
    np.testing.assert_allclose(cached.images.vectors, decoded.images.vectors, atol=1e-3)
    np.testing.assert_array_equal(cached.captions.vectors, decoded.captions.vectors)
    assert cached.figures.keys() == decoded.figures.keys()
    assert calibrate_run(config, pair, model, {**by_split, "dev": []}, features) is None
