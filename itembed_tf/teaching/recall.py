"""Recall on dev of a text encoder with lessons."""

from __future__ import annotations

import numpy as np

from itembed_tf.retrieval.ranks import two_way_ranks
from itembed_tf.retrieval.scores import embedding_scores
from itembed_tf.teaching.data import TeachingData
from itembed_tf.teaching.features import TextFeatures
from itembed_tf.teaching.learning import Taught


def dev_recall(data: TeachingData, features: TextFeatures, taught: Taught | None = None) -> float:
    """Mean R@1 of both directions on dev, in percent; without `taught`, before any lesson.

    No caption is encoded again: lessons change the last linear layer alone, and words that dev's captions had not.
    """
    captions = features.dev_outputs.astype(np.float32)
    if taught is not None and taught.head_change is not None:
        captions += features.dev.astype(np.float32) @ taught.head_change * taught.encoder.head_scale
    captions /= np.linalg.norm(captions, axis=1, keepdims=True)
    scores = embedding_scores(data.dev_images.astype(np.float32), captions)
    ranks = two_way_ranks(scores, data.dev_image_groups, data.dev_caption_groups)
    return float(np.mean([100 * np.mean(of_direction == 1) for of_direction in ranks]))
