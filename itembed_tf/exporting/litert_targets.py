"""The two encoders as targets of a LiteRT conversion: their inputs from train and dev, their settings and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from itembed_tf.config import Config
from itembed_tf.data.batches import flatten
from itembed_tf.data.feature_file import read_features
from itembed_tf.data.images import load_image
from itembed_tf.data.readers import Group
from itembed_tf.data.sources import image_batches
from itembed_tf.data.unreadable import drop_unreadable, find_unreadable
from itembed_tf.evaluation.embeddings import Embeddings
from itembed_tf.exporting.litert_files import (
    image_input,
    image_settings,
    text_files,
    text_settings,
    with_image_metadata,
    with_text_metadata,
)
from itembed_tf.exporting.pair import EncoderPair
from itembed_tf.retrieval import RetrievalTable

CALIBRATION_CAPTIONS, CALIBRATION_IMAGES = 500, 200  # of train, from which int8 takes its ranges


@dataclass(frozen=True)
class Dev:
    """The split on which every precision is measured, with the embeddings and figures of the float32 model."""

    config: Config
    groups: list[Group]
    live: Embeddings
    table: RetrievalTable


@dataclass(frozen=True)
class Target:
    """One encoder to convert and to measure."""

    encoder: keras.Model
    input_name: str
    settings: dict[str, Any]
    files: Mapping[str, str]  # written inside and beside the .tflite file
    describe: Callable[[bytes, str], bytes]  # adds metadata
    calibration: Callable[[], Sequence[np.ndarray]]
    inputs: Callable[[], Iterable[np.ndarray]]  # of dev
    live: np.ndarray

    @property
    def name(self) -> str:
        return str(self.encoder.name)


def text_target(pair: EncoderPair, dev: Dev, train: Sequence[Group]) -> Target:
    vocabulary, settings, files = pair.vocabulary, text_settings(pair), text_files(pair.vocabulary)

    def calibration() -> list[np.ndarray]:
        captions = [caption for group in train for caption in group.captions][:CALIBRATION_CAPTIONS]
        return [ids for ids in vocabulary.encode(captions) if ids.any()]

    return Target(
        encoder=pair.text_encoder,
        input_name="ids",
        settings=settings,
        files=files,
        describe=lambda content, precision: with_text_metadata(content, settings, files, precision),
        calibration=calibration,
        inputs=lambda: vocabulary.encode(flatten(dev.groups).captions),
        live=dev.live.captions,
    )


def image_target(pair: EncoderPair, dev: Dev, train: Sequence[Group]) -> Target:
    settings = image_settings(pair)
    if pair.features:
        return _feature_target(pair, dev, train, settings)

    def pixels(groups: Sequence[Group], maximum: int | None = None) -> Iterator[np.ndarray]:
        images = flatten(groups).images[:maximum]
        for batch in image_batches(images, lambda data, i: load_image(data, size=pair.size, fit=pair.fit), 16):
            yield from np.asarray(batch)

    def calibration() -> list[np.ndarray]:
        groups = list(train[:CALIBRATION_IMAGES])
        readable = drop_unreadable(groups, find_unreadable(groups, max_pixels=dev.config.max_pixels), 100.0)
        return list(pixels(readable, CALIBRATION_IMAGES))

    return Target(
        encoder=pair.image_encoder,
        input_name=image_input(pair),
        settings=settings,
        files={},
        describe=lambda content, precision: with_image_metadata(content, settings, precision),
        calibration=calibration,
        inputs=lambda: pixels(dev.groups),
        live=dev.live.images,
    )


def _feature_target(pair: EncoderPair, dev: Dev, train: Sequence[Group], settings: dict[str, Any]) -> Target:
    """The image encoder of a run that was trained on a file of features."""

    def features(groups: Sequence[Group]) -> NDArray[np.float32]:
        return read_features(dev.config.image_tower.features, flatten(groups).image_ids)

    return Target(
        encoder=pair.image_encoder,
        input_name=image_input(pair),
        settings=settings,
        files={},
        describe=lambda content, precision: with_image_metadata(content, settings, precision),
        calibration=lambda: list(features(train[:CALIBRATION_IMAGES])[:CALIBRATION_IMAGES]),
        inputs=lambda: features(dev.groups),
        live=dev.live.images,
    )
