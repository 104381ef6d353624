"""From annotated pictures to figures: what is read and encoded once, then stages of training and what they find."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from itembed_tf.config import HARD_NEGATIVES, Config, Stage
from itembed_tf.localisation.entities import Annotated
from itembed_tf.localisation.network import embedder, localiser, train_stage
from itembed_tf.localisation.phrases import phrase_features
from itembed_tf.localisation.regions import Regions, look_at
from itembed_tf.localisation.sampling import Pairs, known_pairs
from itembed_tf.localisation.search import Found, hard_negatives, search, table
from itembed_tf.models.backbones import build_backbone, join_levels


@dataclass(frozen=True)
class Material:
    """All that training and evaluation need; the same for every seed.

    Attributes:
        regions: of each split that there is; "train" always.
        phrases: features float32 [P, F] of every plain phrase of all splits.
        number: plain phrase -> its row.
    """

    regions: Mapping[str, Regions]
    phrases: np.ndarray
    number: dict[str, int]


def prepare(
    config: Config, pictures: Sequence[Annotated], proposals: Mapping[str, np.ndarray], *, places: bool
) -> Material:
    """Encode regions and phrases; what the backbone says of a region is kept in the cache folder.

    Args:
        config: its sections image, image_tower, text, word_vectors, sentence and text_tower.word_width.
        pictures: of all splits.
        proposals: id -> int32 [n, 4], best first.
        places: whether the network is told where a box lies.
    """
    tower = config.image_tower
    backbone = build_backbone(tower.backbone, weights=tower.weights, size=config.image.size)
    backbone = join_levels(backbone, tower.levels) if tower.levels else backbone
    regions = {}
    for split in dict.fromkeys(picture.split for picture in pictures):
        regions[split] = look_at([p for p in pictures if p.split == split], proposals, backbone, places=places)
    if not regions["train"].asked:
        raise ValueError("not one phrase of train has a box: there is nothing to learn from")
    texts = dict.fromkeys(asked.plain for split in regions.values() for asked in split.asked)
    training = list(dict.fromkeys(asked.plain for asked in regions["train"].asked))
    return Material(regions, phrase_features(config, training, list(texts)), {text: i for i, text in enumerate(texts)})


def new_model(config: Config, material: Material) -> keras.Model:
    """A `localiser` that has learnt nothing, its weights drawn by the config's seed."""
    keras.utils.set_random_seed(config.seed)
    return localiser(config, material.regions["train"].width, material.phrases.shape[1])


def pairs_of(config: Config, material: Material) -> Pairs:
    """Which training region bears which phrase."""
    train = material.regions["train"]
    return known_pairs(((asked.row, material.number[asked.plain]) for asked in train.asked), config.seed)


def learn(model: keras.Model, config: Config, material: Material, stage: Stage, place: int) -> dict[str, Any]:
    """Train one stage in place; the dict says how it went.

    Hard negatives are looked for first where the stage's losses name them: by the model as it comes.

    Args:
        place: of the stage in its order; another place draws another order of batches.
    """
    started = time.monotonic()
    train = material.regions["train"]
    hard: dict[int, np.ndarray] = {}
    if HARD_NEGATIVES in stage.losses:
        parameters = stage.losses[HARD_NEGATIVES].parameters
        hard = hard_negatives(train, material.phrases, material.number, _both(model), **parameters)
    loss = train_stage(
        model, train, material.phrases, pairs_of(config, material), stage, hard=hard, seed=(config.seed, place)
    )
    return {
        "name": stage.name,
        "epochs": stage.epochs,
        "seconds": round(time.monotonic() - started, 1),
        "loss": round(loss, 5),
        "hard_negatives": sum(map(len, hard.values())),
    }


def find(model: keras.Model, material: Material, split: str) -> tuple[list[Found], dict[str, Any]]:
    """What the model finds in a split, and its figures."""
    found = search(material.regions[split], material.phrases, material.number, _both(model))
    return found, table(found)


def _both(model: keras.Model) -> dict[str, Any]:
    return {side: embedder(model, side) for side in ("region", "phrase")}
