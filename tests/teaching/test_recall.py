"""Recall on dev with lessons, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itembed_tf.teaching import TeachingData
from itembed_tf.teaching.features import text_features
from itembed_tf.teaching.learning import Taught, learn
from itembed_tf.teaching.recall import dev_recall


def test_lengths_do_not_count_and_a_change_of_the_head_does(teaching: TeachingData) -> None:
    """Two images, two captions. The long first caption is right for the first image and nearer to it than the other."""
    images = np.zeros((2, 16), np.float16)
    outputs = np.zeros((2, 16), np.float16)
    images[0, 0] = images[1, 1] = 1
    outputs[0, :2], outputs[1, :2] = (30, 20), (0.4, 0.6)
    groups = np.arange(2, dtype=np.int32)
    before = text_features(teaching)
    encoder = learn(teaching, before, []).encoder
    inputs = np.zeros((2, len(encoder.head)), np.float16)
    inputs[0, 0] = 1
    data = replace(teaching, dev_images=images, dev_image_groups=groups, dev_caption_groups=groups)
    features = replace(before, dev=inputs, dev_outputs=outputs)
    assert dev_recall(data, features) == 100.0
    change = np.zeros_like(encoder.head)
    change[0, :2] = np.array([-30, 10]) / encoder.head_scale[:2]  # the first caption becomes (0, 30)
    # No image finds its caption any more; of the captions, the second still finds its image: (0 + 50) / 2.
    assert dev_recall(data, features, Taught(encoder, (), change)) == 25.0
