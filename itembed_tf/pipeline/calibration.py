"""Calibration of the encoders of a run, from the cached features of its training where they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.joined_features import Features
from itembed_tf.data.readers import Group
from itembed_tf.exporting import EncoderPair
from itembed_tf.exporting.calibration import EmbedImages, calibrate_pair
from itembed_tf.models.dual_path import feature_encoder
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.retrieval import Calibration


def calibrate_run(
    config: Config,
    pair: EncoderPair,
    model: keras.Model,
    by_split: Mapping[str, Sequence[Group]],
    features: Callable[[Items], Sequence[Features]] | None,
) -> Calibration | None:
    """`calibrate_pair` on train and dev of a run.

    Args:
        config: of the run.
        pair: its encoders.
        model: the dual-path model of the encoders.
        by_split: readable groups of the run.
        features: as `itembed_tf.pipeline.outputs.finish_run` has it.
    """
    train, dev = (flatten(by_split.get(split, [])) for split in ("train", "dev"))
    if not config.calibration.rows or not dev.images:
        return None

    def cached(items: Items) -> EmbedImages:
        views = features(items) if features else []
        encode = inference_function(feature_encoder(model, views=len(views)))

        def embed(which: NDArray[np.intp]) -> NDArray[np.float32]:
            return predict(encode, np.stack([view[which] for view in views], axis=1), config.evaluation.batch_size)

        return embed

    return calibrate_pair(
        pair,
        train,
        dev,
        **arguments(config.calibration),
        batch_size=config.evaluation.batch_size,
        train_images=cached(train) if features and _train_is_cached(config) else None,
        dev_images=cached(dev) if features and not config.evaluation.crops else None,
    )


def _train_is_cached(config: Config) -> bool:
    """Whether a stage has cached every view of the training images that the encoders average."""
    views = 1 + config.evaluation.flip
    mirrored = config.augmentation.flip or not config.evaluation.flip
    return mirrored and any(stage.cached_views >= views for stage in config.stages)
