"""A localisation experiment: encode regions and phrases once, train the stages, evaluate each split."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from itembed_tf.config import HARD_NEGATIVES, Config, Stage
from itembed_tf.localisation.entities import AnnotatedImage
from itembed_tf.localisation.network import embedder, localiser, train_stage
from itembed_tf.localisation.phrases import phrase_features
from itembed_tf.localisation.regions import Regions, encode_regions
from itembed_tf.localisation.sampling import Pairs, known_pairs
from itembed_tf.localisation.search import Localisation, hard_negatives, metrics_table, search
from itembed_tf.models.backbones import build_backbone, join_levels


@dataclass(frozen=True)
class LocalisationData:
    """Inputs of training and evaluation; the same for every seed.

    Attributes:
        regions: of each split; "train" is always present.
        phrases: features of all distinct phrases of all splits, float32 [P, F].
        row_of_phrase: phrase -> row of `phrases`.
    """

    regions: Mapping[str, Regions]
    phrases: np.ndarray
    row_of_phrase: dict[str, int]


def prepare(
    config: Config, images: Sequence[AnnotatedImage], proposals: Mapping[str, np.ndarray], *, positions: bool
) -> LocalisationData:
    """Encode regions and phrases. Backbone features of regions are cached on disk.

    Args:
        config: reads image, image_tower, text, word_vectors, sentence and text_tower.word_width.
        images: annotated images of all splits.
        proposals: image id -> boxes int32 [n, 4], best first.
        positions: add the position of each box to its features.
    """
    tower = config.image_tower
    backbone = build_backbone(tower.backbone, weights=tower.weights, size=config.image.size, pixels=tower.pixels)
    backbone = join_levels(backbone, tower.levels) if tower.levels else backbone
    regions = {}
    for split in dict.fromkeys(image.split for image in images):
        regions[split] = encode_regions(
            [p for p in images if p.split == split], proposals, backbone, positions=positions
        )
    if not regions["train"].located:
        raise ValueError("no phrase of the train split has a box, so there is nothing to train on")
    texts = dict.fromkeys(phrase.normalised for split in regions.values() for phrase in split.located)
    training = list(dict.fromkeys(phrase.normalised for phrase in regions["train"].located))
    return LocalisationData(
        regions, phrase_features(config, training, list(texts)), {text: i for i, text in enumerate(texts)}
    )


def new_model(config: Config, data: LocalisationData) -> keras.Model:
    """A new `localiser` for the widths of the data. Its weights depend on the global random seed."""
    return localiser(config, data.regions["train"].width, data.phrases.shape[1])


def pairs_of(config: Config, data: LocalisationData) -> Pairs:
    """Pairs of region and phrase in the training split."""
    train = data.regions["train"]
    return known_pairs(((phrase.row, data.row_of_phrase[phrase.normalised]) for phrase in train.located), config.seed)


def train(model: keras.Model, config: Config, data: LocalisationData, stage: Stage, index: int) -> dict[str, Any]:
    """Train one stage in place and return its summary.

    If the stage's losses include hard negatives, these are mined first, with the model as it is.

    Args:
        index: of the stage; part of the seed of the batch order.
    """
    started = time.monotonic()
    regions = data.regions["train"]
    hard: dict[int, np.ndarray] = {}
    if HARD_NEGATIVES in stage.losses:
        parameters = stage.losses[HARD_NEGATIVES].parameters
        hard = hard_negatives(regions, data.phrases, data.row_of_phrase, _embedders(model), **parameters)
    seed = (config.seed, index)
    loss = train_stage(model, regions, data.phrases, pairs_of(config, data), stage, hard=hard, seed=seed)
    return {
        "name": stage.name,
        "epochs": stage.epochs,
        "seconds": round(time.monotonic() - started, 1),
        "loss": round(loss, 5),
        "hard_negatives": sum(map(len, hard.values())),
    }


def evaluate(model: keras.Model, data: LocalisationData, split: str) -> tuple[list[Localisation], dict[str, Any]]:
    """Localise all phrases of a split; returns the results and their metrics."""
    results = search(data.regions[split], data.phrases, data.row_of_phrase, _embedders(model))
    return results, metrics_table(results)


def _embedders(model: keras.Model) -> dict[str, Any]:
    return {side: embedder(model, side) for side in ("region", "phrase")}
