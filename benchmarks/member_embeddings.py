"""Embeddings of train and dev by the trained members of ensembles, and what joins them: for `benchmarks.levers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from benchmarks.calibrated import Dev
from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.images import load_image
from itembed_tf.data.readers import read_dataset
from itembed_tf.data.sources import image_batches
from itembed_tf.data.unreadable import drop_unreadable
from itembed_tf.evaluation.calibration import Side, bank_rows
from itembed_tf.evaluation.embeddings import Embeddings, embedder
from itembed_tf.exporting.pca import principal_axes, project
from itembed_tf.models.dual_path import feature_encoder, parts, views
from itembed_tf.models.frozen_inference import frozen_inference
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.retrieval import Bank
from itembed_tf.training.build import load_model
from itembed_tf.training.frozen_outputs import image_features
from itembed_tf.training.run_directory import open_run, read_skipped

BATCH = 16  # images, of which each has ten views


@dataclass(frozen=True, eq=False)
class Split:
    """Embeddings of the images and captions of a split, float32 with rows of unit length."""

    images: NDArray[np.float32]
    captions: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embedded:
    """One member, or several joined: train, dev, and the images of dev with crops averaged."""

    train: Split
    dev: Split
    cropped: NDArray[np.float32]


@cache
def items_of(run: Path) -> tuple[Items, Items]:
    """Images and captions of train and of dev of a run."""
    config = open_run(run).config
    groups = read_dataset(**{**arguments(config.dataset), "splits": ("train", "dev")})
    groups = drop_unreadable(groups, read_skipped(run) or [], max_percent=100.0)
    train, dev = ([group for group in groups if group.split == split] for split in ("train", "dev"))
    return flatten(train), flatten(dev)


def embed_member(run: Path, number: int, crops: int) -> Embedded:
    """Embed train and dev by member `number` of a run, from cached features."""
    opened = open_run(run / "members" / str(number))
    model, config = load_model(opened), opened.config
    settings = arguments(config.image) | arguments(config.evaluation) | {"crops": 0}
    flip = config.evaluation.flip

    def embed(items: Items) -> Split:
        features = image_features(config, model, items, 1 + flip, mirror=flip)
        found = embedder(model, items, opened.vocabulary, **settings, features=features)()
        return Split(found.images, found.captions)

    train, dev = items_of(run)
    rows = _cropped_features(config, model, dev, crops)
    cropped = predict(inference_function(feature_encoder(model, views=rows.shape[1])), rows, 64)
    keras.backend.clear_session()
    return Embedded(embed(train), embed(dev), cropped)


_CROPPED: dict[str, NDArray[np.float32]] = {}


def _cropped_features(config: Config, model: keras.Model, items: Items, crops: int) -> NDArray[np.float32]:
    """Features of images and of crops of them, each with its mirror image: [n, views, F]; once for each backbone."""
    key = f"{config.image_tower.backbone} {config.image_tower.levels}"
    if key not in _CROPPED:
        backbone, size, fit = parts(model)["backbone"], config.image.size, config.image.fit
        mirrored = 1 + config.evaluation.flip
        encode = frozen_inference(backbone, len(items.images) * mirrored * (1 + crops))
        found = []
        for batch in image_batches(items.images, lambda data, i: load_image(data, size=size, fit=fit), BATCH):
            shown = [view for one in views(batch, crops) for view in (one, tf.reverse(one, [2]))[:mirrored]]
            rows = encode(tf.concat(shown, axis=0)).numpy()
            found.append(rows.reshape(len(shown), len(batch), -1).swapaxes(0, 1))
        _CROPPED[key] = np.concatenate(found)
    return _CROPPED[key]


def join(members: Sequence[Embedded], size: int) -> Embedded:
    """The embeddings of members side by side, brought to `size` dimensions by PCA on train; one member is unchanged."""
    if len(members) == 1:
        return members[0]

    def side_by_side(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(parts, axis=1)

    train = Embeddings(*(side_by_side([getattr(m.train, kind) for m in members]) for kind in ("images", "captions")))
    axes, _ = principal_axes(train, size)

    def of(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return project(side_by_side(parts), axes)

    return Embedded(
        Split(project(train.images, axes), project(train.captions, axes)),
        Split(of([m.dev.images for m in members]), of([m.dev.captions for m in members])),
        of([m.cropped for m in members]),
    )


def with_memory(one: Embedded, weight: float, temperature: float) -> Embedded:
    """Texts expanded by the images of train, as `itembed_tf.models.memory` does in the encoder."""
    memory = one.train.images

    def expand(text: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = text @ memory.T / temperature
        attention = np.exp(scores - scores.max(axis=1, keepdims=True))
        recalled = (attention / attention.sum(axis=1, keepdims=True)) @ memory
        recalled /= np.linalg.norm(recalled, axis=1, keepdims=True)
        known = np.linalg.norm(text, axis=1, keepdims=True)
        return project(text + np.float32(weight) * known * recalled, np.eye(text.shape[1], dtype=np.float32))

    captions = [np.concatenate([expand(part) for part in np.array_split(s.captions, 16)]) for s in (one.train, one.dev)]
    return replace(one, train=replace(one.train, captions=captions[0]), dev=replace(one.dev, captions=captions[1]))


def with_crops(one: Embedded) -> Embedded:
    """Dev's images averaged over crops too."""
    return replace(one, dev=replace(one.dev, images=one.cropped))


def dev_of(one: Embedded, items: Items) -> Dev:
    """Dev without captions of unknown words alone, whose embedding is 0."""
    known = np.flatnonzero(one.dev.captions.any(axis=1))
    captions = Side(one.dev.captions[known], items.caption_groups[known])
    return Dev(Side(one.dev.images, items.image_groups), captions, [items.captions[i] for i in known])


def banks_of(one: Embedded, items: Items, rows: int) -> tuple[Bank, Bank]:
    """Banks of the hubness correction: images and captions of train, at most `rows` of each."""

    def bank(vectors: NDArray[np.float32], groups: NDArray[np.integer]) -> Bank:
        known = np.flatnonzero(vectors.any(axis=1))
        chosen = known[bank_rows(groups[known], rows)]
        return Side(vectors[chosen], groups[chosen]).bank()

    return bank(one.train.images, items.image_groups), bank(one.train.captions, items.caption_groups)
