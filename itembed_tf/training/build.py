"""The dual-path model of a config, without any change of Keras' or NumPy's global state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras

from itembed_tf.config import Config, arguments, distinct_backbones, member_configs
from itembed_tf.data.feature_file import feature_width
from itembed_tf.models.architecture import architecture_of, feature_backbone
from itembed_tf.models.dual_path import dual_path_model
from itembed_tf.models.ensemble import ensemble_model
from itembed_tf.models.image_tower import image_tower
from itembed_tf.models.memory import with_memory
from itembed_tf.models.text_tower import text_tower
from itembed_tf.sentence_features.layers import sentence_features
from itembed_tf.training.building import building
from itembed_tf.training.errors import RunError
from itembed_tf.training.open_backbones import architecture_key
from itembed_tf.training.run_directory import Run, load_weights, read_architectures, read_metrics


def build_model(
    config: Config,
    *,
    vocabulary_size: int,
    classes: int,
    pretrained: bool = True,
    architectures: Mapping[str, Any] | None = None,
    shards: int = 1,
) -> keras.Model:
    """Build the dual-path model with the precision of the config and initial weights from its seed.

    With members it is an ensemble (`itembed_tf.models.ensemble`), whose projection is random.

    Args:
        config: of the run.
        vocabulary_size: words with padding.
        classes: of the classifier.
        pretrained: whether the backbone has the weights that the config names, or random ones.
        architectures: of the backbones, that the run keeps (`itembed_tf.training.open_backbones`): their weights are
            random, and the file, preset or features that the config names are not needed.
        shards: replicas that share the classes with model.softmax = "sharded".
    """
    if config.members:
        build = partial(build_model, vocabulary_size=vocabulary_size, classes=classes, pretrained=pretrained)
        return build_ensemble(config, [build(member, architectures=architectures) for member in member_configs(config)])
    tower = config.image_tower if pretrained else dataclasses.replace(config.image_tower, weights="none")
    architecture = (architectures or {}).get(architecture_key(config))
    if architecture is None and tower.features:
        architecture = architecture_of(feature_backbone(feature_width(tower.features)))
    with building(config.precision, config.seed):
        image = image_tower(
            **arguments(tower),
            size=config.image.size,
            embedding_size=config.embedding_size,
            architecture=architecture,
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
        return dual_path_model(image, text, classes=classes, shards=shards, **arguments(config.model))


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
    sizes, kept = {"vocabulary_size": run.vocabulary.size, "classes": classes}, read_architectures(run.path)
    model = build_model(config, **sizes, pretrained=False, architectures=kept)
    model = with_memory(model, **arguments(config.memory))
    load_weights(run.path, model)
    return model
