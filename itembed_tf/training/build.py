"""The dual-path model of a config, without any change of Keras' or NumPy's global state."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from itembed_tf.config import Config, arguments
from itembed_tf.models.dual_path import dual_path_model
from itembed_tf.models.image_tower import image_tower
from itembed_tf.models.text_tower import text_tower
from itembed_tf.sentence_features.layers import sentence_features
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_directory import Run, load_weights, read_metrics


@contextmanager
def building(precision: str, seed: int) -> Iterator[None]:
    """Layers made in the block have the dtype policy `precision`, and initial weights that depend on `seed` alone.

    Keras draws the seeds of initialisers and dropout layers from Python's `random`; its state and the policy are
    restored afterwards.
    """
    state, policy = random.getstate(), keras.config.dtype_policy()
    random.seed(seed)
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        random.setstate(state)
        keras.config.set_dtype_policy(policy)


def build_model(config: Config, *, vocabulary_size: int, classes: int) -> keras.Model:
    """Build the dual-path model with the precision of the config and initial weights from its seed."""
    with building(config.precision, config.seed):
        image = image_tower(
            **arguments(config.image_tower), size=config.image.size, embedding_size=config.embedding_size
        )
        sentence = None
        if config.text_tower.variant == "features":
            sentence = sentence_features(
                **arguments(config.sentence),
                vocabulary_size=vocabulary_size,
                word_width=config.text_tower.word_width,
                length=config.text.length,
            )
        text = text_tower(
            **arguments(config.text_tower),
            vocabulary_size=vocabulary_size,
            length=config.text.length,
            embedding_size=config.embedding_size,
            sentence=sentence,
        )
        return dual_path_model(image, text, classes=classes, **arguments(config.model))


def load_model(run: Run, classes: int | None = None) -> keras.Model:
    """The dual-path model of a run in float32 with its final weights; `classes` None: as in metrics.json.

    Raises:
        RunError: the run has not finished, or its files are damaged.
    """
    metrics = read_metrics(run.path)
    if classes is None and not metrics.get("finished"):
        raise RunError(f"{run.path}: this run has not finished; continue it with: itembed train CONFIG {run.path}")
    classes = classes or metrics.get("classes")
    if type(classes) is not int:
        raise RunError(f"{run.path / 'metrics.json'} lacks the number of classes; restore it from a copy")
    if metrics.get("vocabulary", run.vocabulary.checksum()) != run.vocabulary.checksum():
        raise RunError(f"{run.path / 'vocabulary.txt'} is not the one of the training; restore it from a copy")
    without_weights = dataclasses.replace(run.config.image_tower, weights="none")
    config = dataclasses.replace(run.config, precision="float32", image_tower=without_weights)
    model = build_model(config, vocabulary_size=run.vocabulary.size, classes=classes)
    load_weights(run.path, model)
    return model
