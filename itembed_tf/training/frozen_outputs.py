"""Outputs of the frozen parts of a model for images and captions, read from the cache where they are in it."""

from __future__ import annotations

import keras
import numpy as np

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items
from itembed_tf.data.feature_cache import cached_features, cached_sentences
from itembed_tf.data.images import augment_image, load_image
from itembed_tf.models.dual_path import parts, sentence_features


def image_features(config: Config, model: keras.Model, items: Items, views: int, *, mirror: bool) -> list[np.ndarray]:
    """Backbone features, one array [n, F] per view; see `itembed_tf.data.feature_cache.cached_features`."""
    size, fit, tower = config.image.size, config.image.fit, config.image_tower
    crops = f" {tower.crops} crops" if tower.crops != 1 else ""
    return cached_features(
        parts(model)["backbone"],
        items.images,
        views=views,
        mirror=mirror,
        load=lambda data: load_image(data, size=size, fit=fit),
        augment=lambda data, seed: augment_image(data, seed, size=size, **arguments(config.augmentation)),
        settings=f"{config.precision} {config.image} {tower.levels}{crops}",
        crop_settings=str(config.augmentation),
    )


def evaluation_features(config: Config, model: keras.Model, items: Items) -> np.ndarray:
    """Backbone features [n, F] of the images as evaluation loads them."""
    return image_features(config, model, items, 1, mirror=False)[0]


def caption_features(model: keras.Model, ids: np.ndarray) -> np.ndarray | None:
    """Sentence features [m, F] of captions; None where the text tower has a trainable word table."""
    features = sentence_features(model)
    return None if features is None else cached_sentences(features, ids)
