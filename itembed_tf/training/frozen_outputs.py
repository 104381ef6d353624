"""Outputs of the frozen parts of a model for images and captions, read from the cache where they are in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from itembed_tf.config import Config, arguments, distinct_backbones
from itembed_tf.config.backbone_forms import check_views, kind_of, preset_folder, source_of
from itembed_tf.config.towers import ImageTower
from itembed_tf.data.batches import Items
from itembed_tf.data.feature_cache import cached_features, cached_sentences
from itembed_tf.data.feature_file import read_features
from itembed_tf.data.images import augment_image, load_image
from itembed_tf.data.joined_features import Features, JoinedFeatures
from itembed_tf.files import file_checksum
from itembed_tf.models.dual_path import parts, sentence_features
from itembed_tf.models.ensemble import single_backbones


def image_features(config: Config, model: keras.Model, items: Items, views: int, *, mirror: bool) -> list[np.ndarray]:
    """Backbone features, one array [n, F] per view; see `itembed_tf.data.feature_cache.cached_features`."""
    if (given := given_features(config, items)) is not None:
        return given
    return _features(config, config.image_tower, parts(model)["backbone"], items, views, mirror)


def encoder_features(
    config: Config, model: keras.Model, items: Items, views: int, *, mirror: bool
) -> Sequence[Features]:
    """As `image_features`; those of an ensemble are the features of its backbones side by side."""
    if not config.members:
        return image_features(config, model, items, views, mirror=mirror)
    towers, _ = distinct_backbones(config)
    of_backbones = [
        _features(config, tower, backbone, items, views, mirror)
        for tower, backbone in zip(towers, single_backbones(model), strict=True)
    ]
    return [JoinedFeatures(arrays) for arrays in zip(*of_backbones)]


def _features(
    config: Config, tower: ImageTower, backbone: keras.Model, items: Items, views: int, mirror: bool
) -> list[np.ndarray]:
    size, fit = config.image.size, config.image.fit
    crops = f" {tower.crops} crops" if tower.crops != 1 else ""
    return cached_features(
        backbone,
        items.images,
        views=views,
        mirror=mirror,
        load=lambda data: load_image(data, size=size, fit=fit),
        augment=lambda data, seed: augment_image(data, seed, size=size, **arguments(config.augmentation)),
        settings=f"{config.precision} {config.image} {tower.levels}{crops}{_source(tower)}",
        crop_settings=str(config.augmentation),
    )


def given_features(config: Config, items: Items) -> list[np.ndarray] | None:
    """The features of images from image_tower.features, one array [n, F]; None where a backbone computes them.

    Raises:
        ConfigError: further views are asked for.
        FeatureFileError: see `itembed_tf.data.feature_file.read_features`.
        FileNotFoundError: the file is not there.
    """
    if not config.image_tower.features:
        return None
    check_views(config)
    return [read_features(config.image_tower.features, items.image_ids)]


def _source(tower: ImageTower) -> str:
    """What decides the features of a file or a preset beside its weights: its layers and the pixels that it takes."""
    if not kind_of(tower.backbone):
        return ""
    folder = preset_folder(tower.backbone)
    files = [folder / name for name in ("config.json", "image_converter.json", "preprocessor.json")] if folder else []
    if kind_of(tower.backbone) == "file":
        files = [Path(source_of(tower.backbone)).expanduser()]
    return " ".join(["", tower.backbone, tower.pixels, *(file_checksum(file) for file in files if file.is_file())])


def evaluation_features(config: Config, model: keras.Model, items: Items) -> np.ndarray:
    """Backbone features [n, F] of the images as evaluation loads them."""
    return image_features(config, model, items, 1, mirror=False)[0]


def caption_features(model: keras.Model, ids: np.ndarray) -> np.ndarray | None:
    """Sentence features [m, F] of captions; None where the text tower has a trainable word table."""
    features = sentence_features(model)
    return None if features is None else cached_sentences(features, ids)
