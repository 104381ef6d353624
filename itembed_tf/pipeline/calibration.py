"""What a search index takes beside the encoders of a run, from the cached features of its training where they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.joined_features import Features
from itembed_tf.data.readers import Group
from itembed_tf.exporting import EncoderPair
from itembed_tf.exporting.calibration import EmbedImages, calibrate_pair, draw_samples
from itembed_tf.models.dual_path import feature_encoder
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.retrieval import Calibration, write_calibration
from itembed_tf.teaching import TeachingData, write_data
from itembed_tf.teaching.preparation import cannot_be_taught, teaching_data


def write_search_data(
    config: Config,
    folder: Path,
    pair: EncoderPair,
    model: keras.Model,
    by_split: Mapping[str, Sequence[Group]],
    features: Callable[[Items], Sequence[Features]] | None,
    dev_images: NDArray[np.float32] | None = None,
) -> Calibration | None:
    """Write what a search index takes beside the encoders: ``calibration.npz`` and ``teaching.npz``.

    Args:
        config: of the run.
        folder: of the exported encoders.
        pair: the encoders.
        model: the dual-path model of the encoders.
        by_split: readable groups of the run.
        features: as `itembed_tf.pipeline.outputs.finish_run` has it.
        dev_images: embeddings [n, D] of the images of dev by these encoders; None where they are to be computed.

    Returns:
        The calibration; None where there is none.
    """
    calibration, data = measure_run(config, pair, model, by_split, features, dev_images)
    if calibration:
        write_calibration(folder, calibration)
    if data:
        write_data(folder, data)
    return calibration


def measure_run(
    config: Config,
    pair: EncoderPair,
    model: keras.Model,
    by_split: Mapping[str, Sequence[Group]],
    features: Callable[[Items], Sequence[Features]] | None,
    dev_images: NDArray[np.float32] | None = None,
) -> tuple[Calibration | None, TeachingData | None]:
    """`calibrate_pair` and `teaching_data` on train and dev of a run; arguments as `write_search_data`."""
    train, dev = (flatten(by_split.get(split, [])) for split in ("train", "dev"))
    if not config.calibration.rows or not dev.images:
        return None, None

    def cached(items: Items) -> EmbedImages:
        views = features(items) if features else []
        encode = inference_function(feature_encoder(model, views=len(views)))

        def embed(which: NDArray[np.intp]) -> NDArray[np.float32]:
            return predict(encode, np.stack([view[which] for view in views], axis=1), config.evaluation.batch_size)

        return embed

    settings = {**arguments(config.calibration), "batch_size": config.evaluation.batch_size}
    embed_dev = cached(dev) if features and not config.evaluation.crops else None
    if dev_images is not None:
        embed_dev = dev_images.__getitem__
    samples = draw_samples(pair, train, dev, **settings, dev_images=embed_dev)
    train_images = cached(train) if features and _train_is_cached(config) else None
    calibration = calibrate_pair(pair, train, samples, **settings, train_images=train_images)
    if cannot_be_taught(config):
        return calibration, None
    return calibration, teaching_data(pair, config, samples, **arguments(config.teaching))


def _train_is_cached(config: Config) -> bool:
    """Whether a stage has cached every view of the training images that the encoders average."""
    views = 1 + config.evaluation.flip
    mirrored = config.augmentation.flip or not config.evaluation.flip
    return mirrored and any(stage.cached_views >= views for stage in config.stages)
