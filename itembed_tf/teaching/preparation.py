"""The data of lessons from a run: its weights, some training captions, and its dev."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from itembed_tf.config import Config, arguments, load_config
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.readers import Group, read_dataset
from itembed_tf.data.unreadable import drop_unreadable
from itembed_tf.evaluation.embeddings import embedder
from itembed_tf.exporting.pair import EncoderPair, load_pair, weights_checksum
from itembed_tf.progress import Steps
from itembed_tf.teaching.data import TeachingData, TeachingError
from itembed_tf.teaching.encoder import TrainableTextEncoder
from itembed_tf.training.frozen_outputs import image_features
from itembed_tf.training.run_directory import open_run, read_skipped

T = TypeVar("T")

CAPTIONS = 4096  # of train
DEV_GROUPS = 1000  # of dev


def prepare(run: str | Path, contract: str) -> TeachingData:
    """Make the data of lessons from a finished run; its dataset must be available.

    Args:
        run: run directory.
        contract: contract hash of the encoders of the index.

    Raises:
        TeachingError: the run has other encoders, a text encoder that cannot learn a word, or no dev.
        RunError: the run has not finished.
        FileNotFoundError: its dataset is not there.
    """
    opened, steps = open_run(run), Steps(["load the run", "embed dev", "embed training captions"])
    if opened.config.text_tower.variant == "features":
        raise TeachingError(
            f"{run} cannot be taught: its text encoder computes fixed sentence features, which have no row for a new "
            'word (text_tower.variant = "features"). Train with another variant, such as "wide"'
        )
    if opened.config.members:
        raise TeachingError(
            f"{run} cannot be taught: it is an ensemble of {len(opened.config.members)} members, each with word "
            "embeddings of its own. Train one without members for an index that learns new names"
        )
    if opened.config.memory.rows:
        raise TeachingError(
            f"{run} cannot be taught: its text encoder has a memory of training images (memory.rows = "
            f"{opened.config.memory.rows}). Train one without it for an index that learns new names"
        )
    steps.start("load the run")
    model, pair = load_pair(opened.path)
    if pair.contract != contract:
        raise TeachingError(
            f"{run} has encoders of the contract {pair.contract[:16]}, and the index of {contract[:16]}: give the run "
            "with which the index was built (exports with --pca or --set cannot be taught)"
        )
    config = load_config(opened.path / "config.toml", ['dataset.splits=["train", "dev"]'])
    groups = drop_unreadable(read_dataset(**arguments(config.dataset)), read_skipped(opened.path) or [], 100.0)
    steps.start("embed dev")
    dev = flatten(_known(_spread([group for group in groups if group.split == "dev"], DEV_GROUPS), pair))
    if not dev.captions:
        raise TeachingError(f"{run} has no dev, on which the harm that a lesson does could be measured")
    images = _dev_images(config, model, pair, dev)
    steps.start("embed training captions")
    texts = [text for group in groups if group.split == "train" for text in group.captions]
    ids = pair.vocabulary.encode(_spread(texts, CAPTIONS))
    ids = ids[ids.any(axis=1)]
    none = np.zeros((0, 0), np.float16)
    data = TeachingData(
        contract=pair.contract,
        image_weights=weights_checksum(pair.image_encoder),
        image_settings=pair.image_settings,
        encoding_settings=pair.encoding_settings,
        tower=arguments(opened.config.text_tower),
        vocabulary=pair.vocabulary,
        weights=tuple(np.asarray(variable.value) for variable in pair.text_encoder.variables),
        captions=ids,
        caption_vectors=none,
        caption_features=none,
        dev_images=images.astype(np.float16),
        dev_image_groups=dev.image_groups,
        dev_features=none,
        dev_outputs=none,
        dev_caption_groups=dev.caption_groups,
    )
    return with_features(data, pair.vocabulary.encode(dev.captions))


def with_features(data: TeachingData, dev_captions: NDArray[np.int32]) -> TeachingData:
    """The data with what its text encoder computes of its captions, and of dev's, given as word ids [k, L]."""
    encoder = TrainableTextEncoder(data)
    features, outputs = encoder.features(data.captions)
    dev_features, dev_outputs = encoder.features(dev_captions)
    return replace(
        data,
        caption_vectors=(outputs / np.linalg.norm(outputs, axis=1, keepdims=True)).astype(np.float16),
        caption_features=features.astype(np.float16),
        dev_features=dev_features.astype(np.float16),
        dev_outputs=dev_outputs.astype(np.float16),
    )


def _spread(values: Sequence[T], most: int) -> list[T]:
    """At most `most` of some values, chosen at random, the same at every call; in their order."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(values))[:most])
    return [values[i] for i in chosen]


def _known(groups: list[Group], pair: EncoderPair) -> list[Group]:
    """The groups without captions of no known word, and without those that have no other."""
    result = []
    for group in groups:
        known = np.count_nonzero(pair.vocabulary.encode(group.captions), axis=1)
        captions = tuple(caption for caption, is_known in zip(group.captions, known.tolist()) if is_known)
        result += [replace(group, captions=captions, caption_ids=())] if captions else []
    return result


def _dev_images(config: Config, model: keras.Model, pair: EncoderPair, dev: Items) -> NDArray[np.float32]:
    """Embeddings of the images of dev, from cached features where no stage of the training has changed the backbone."""
    features: list[NDArray[np.float32]] | None = None
    if config.precision == "float32" and all("backbone" in stage.freeze for stage in config.stages):
        flip = config.evaluation.flip
        features = image_features(config, model, dev, views=1 + flip, mirror=flip)
    settings = arguments(config.image) | arguments(config.evaluation)
    return embedder(model, dev, pair.vocabulary, **settings, features=features)().images
