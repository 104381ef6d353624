"""The dual-path model of a config, without any change of Keras' or NumPy's global state."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras

from itembed_tf.config import Config, arguments, distinct_backbones, member_configs
from itembed_tf.models.dual_path import dual_path_model
from itembed_tf.models.ensemble import ensemble_model
from itembed_tf.models.image_tower import image_tower
from itembed_tf.models.memory import with_memory
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


def build_model(config: Config, *, vocabulary_size: int, classes: int, pretrained: bool = True) -> keras.Model:
    """Build the dual-path model with the precision of the config and initial weights from its seed.

    With members it is an ensemble (`itembed_tf.models.ensemble`), whose projection is random.

    Args:
        config: of the run.
        vocabulary_size: words with padding.
        classes: of the classifier.
        pretrained: whether the backbone has the weights that the config names, or random ones.
    """
    if config.members:
        sizes = {"vocabulary_size": vocabulary_size, "classes": classes}
        return build_ensemble(
            config, [build_model(member, **sizes, pretrained=pretrained) for member in member_configs(config)]
        )
    tower = config.image_tower if pretrained else dataclasses.replace(config.image_tower, weights="none")
    with building(config.precision, config.seed):
        image = image_tower(**arguments(tower), size=config.image.size, embedding_size=config.embedding_size)
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


def build_ensemble(config: Config, members: Sequence[keras.Model]) -> keras.Model:
    """Build the ensemble of the members' models, with their layers, and with a random projection."""
    _, backbone_of = distinct_backbones(config)
    with building(config.precision, config.seed):
        return ensemble_model(members, backbone_of, embedding_size=config.embedding_size)


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
    every_class = dataclasses.replace(run.config.model, softmax="full")
    config = dataclasses.replace(run.config, precision="float32", model=every_class)
    model = build_model(config, vocabulary_size=run.vocabulary.size, classes=classes, pretrained=False)
    model = with_memory(model, **arguments(config.memory))
    load_weights(run.path, model)
    return model
