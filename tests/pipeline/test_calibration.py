"""A training measures on its cached features what an export measures on decoded images, and keeps what lessons need."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.config import arguments, load_config
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import read_dataset
from itembed_tf.exporting import load_pair
from itembed_tf.exporting.calibration import decoding
from itembed_tf.pipeline.calibration import measure_run
from itembed_tf.teaching.features import text_features
from itembed_tf.training.frozen_outputs import image_features

pytestmark = pytest.mark.usefixtures("shallow_backbone")


def test_cached_features_give_the_same_calibration(small_run: Path) -> None:
    config, (model, pair) = load_config(small_run / "config.toml"), load_pair(small_run)
    groups = read_dataset(**arguments(config.dataset))
    by_split = {split: [group for group in groups if group.split == split] for split in ("train", "dev")}
    features = partial(image_features, config, model, views=2, mirror=True)
    cached, data = measure_run(config, pair, model, by_split, features)
    decoded, _ = measure_run(config, pair, model, by_split, None)
    assert cached is not None and decoded is not None and cached.contract == pair.contract
    np.testing.assert_allclose(cached.images.vectors, decoded.images.vectors, atol=1e-3)
    np.testing.assert_array_equal(cached.captions.vectors, decoded.captions.vectors)
    assert cached.figures.keys() == decoded.figures.keys()
    dev = flatten(by_split["dev"])
    vectors = decoding(pair, dev.images, 8)(np.arange(len(dev.images)))
    embedded, _ = measure_run(config, pair, model, by_split, None, vectors)
    assert embedded is not None and embedded.figures == decoded.figures
    turned, _ = measure_run(config, pair, model, by_split, None, vectors[::-1])
    assert turned is not None and turned.figures != decoded.figures, "the embeddings that were given are used"
    assert measure_run(config, pair, model, {**by_split, "dev": []}, features) == (None, None)
    assert data is not None and data.contract == pair.contract
    np.testing.assert_array_equal(text_features(data).caption_vectors, cached.captions.vectors)
    assert data.caption_groups.tolist() == cached.captions.groups.tolist()
    assert sorted(data.dev_image_groups.tolist()) == sorted(data.dev_caption_groups.tolist()) == list(range(8))
    without = load_config(small_run / "config.toml", ["teaching.keep=false"])
    assert measure_run(without, pair, model, by_split, None)[1] is None
