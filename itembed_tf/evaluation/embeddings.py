"""Embeddings of a split by the model of a run."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.config import PLACES, Config, ConfigError, arguments, load_config
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.images import load_image
from itembed_tf.data.joined_features import Features
from itembed_tf.data.readers import Group, ImageSource, read_dataset
from itembed_tf.data.sources import image_batches
from itembed_tf.data.unreadable import drop_unreadable, find_unreadable
from itembed_tf.models.dual_path import encoder, feature_encoder
from itembed_tf.models.inference import inference_function, row_batches
from itembed_tf.progress import running_clock
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import load_model
from itembed_tf.training.frozen_outputs import given_features
from itembed_tf.training.run_data import GroupRecord, differences, group_records, read_records
from itembed_tf.training.run_directory import Run, read_skipped


@dataclass(frozen=True)
class Embeddings:
    """Image and caption embeddings of a split: unit length float32 [n, D] and [m, D], in the order of its `Items`."""

    images: np.ndarray
    captions: np.ndarray


def embedder(
    model: keras.Model,
    items: Items,
    vocabulary: Vocabulary,
    *,
    size: int,
    fit: str,
    flip: bool,
    crops: int,
    shifts: str,
    batch_size: int,
    features: Sequence[Features] | None = None,
) -> Callable[[], Embeddings]:
    """Make a function that embeds the items with the current weights of the model.

    The function can be called again after further training; nothing is traced or decoded twice.

    Args:
        model: the dual-path model.
        items: images and captions of one split.
        vocabulary: of the run.
        size, fit: image preprocessing (`itembed_tf.data.images.load_image`).
        flip, crops, shifts: test-time averaging of the encoders (`itembed_tf.models.dual_path.encoder`).
        batch_size: images or captions encoded at a time.
        features: features of the images from a frozen backbone, [n, F] per view (two views with `flip`), without
            crops; None decodes the images.
    """
    embed_images = image_embedder(
        model, items.images, size=size, fit=fit, flip=flip, crops=crops, batch_size=batch_size, features=features
    )
    encode_text, ids = inference_function(encoder(model, "text", shifts=shifts)), vocabulary.encode(items.captions)

    def embed() -> Embeddings:
        captions = encode_batches(encode_text, row_batches(ids, batch_size), len(ids), "captions")
        return Embeddings(embed_images(), captions)

    return embed


def image_embedder(
    model: keras.Model,
    images: Sequence[ImageSource],
    *,
    size: int,
    fit: str,
    flip: bool,
    crops: int = 0,
    batch_size: int,
    features: Sequence[Features] | None = None,
) -> Callable[[], np.ndarray]:
    """Make a function that embeds images with the current weights of the model: unit length float32 [n, D].

    Args:
        images: to embed.
        others: as those of `embedder`.
    """
    if features is None:
        encode = inference_function(encoder(model, "image", flip=flip, crops=crops))
        decoded = image_batches(images, lambda data, i: load_image(data, size=size, fit=fit), batch_size)
    else:
        encode = inference_function(feature_encoder(model, views=1 + flip))
        views = np.stack(features[: 1 + flip], axis=1)

    def embed() -> np.ndarray:
        batches = decoded if features is None else row_batches(views, batch_size)
        return encode_batches(encode, batches, len(images), "images")

    return embed


def encode_batches(function: Callable[[Any], tf.Tensor], batches: Iterable[Any], total: int, unit: str) -> np.ndarray:
    """Pass all batches through one encoder, with a progress bar: float32 [total, D]."""
    parts = []
    with tqdm(total=total, desc=f"encoding {unit}", unit=f" {unit}", leave=False) as bar:
        for batch in batches:
            parts.append(function(batch).numpy())
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def embed_split(
    run: Run, split: str, overrides: Sequence[str] = (), model: keras.Model | None = None
) -> tuple[keras.Model, Config, list[Group], Embeddings]:
    """Embed one split with the model of a finished run.

    Args:
        run: a finished run.
        split: "train", "dev" or "test".
        overrides: settings to change, as "section.key=value".
        model: the model of the run, if it is loaded already.

    Returns:
        The model, its config with the overrides, the readable groups of the split, and their embeddings.

    Raises:
        FileNotFoundError: the dataset is not where it was when the run was trained.
        RunError: the run has not finished, or its files are damaged.
        TooManyUnreadable: more images are unreadable than in the training, and than the config allows.
        ValueError: as `itembed_tf.data.readers.read_dataset`.
    """
    if any(override.partition("=")[0].strip() == "dataset.splits" for override in overrides):
        raise ConfigError("dataset.splits cannot be set here; choose the split with --split")
    if model is None:
        with running_clock(f"loading the model of {run.path}"):
            model = load_model(run)
    config = load_config(run.path / "config.toml", [*overrides, f'dataset.splits=["{split}"]'])
    with running_clock(f"reading the {split} split"):
        groups = _read_split(config, run)
    no_images = bool(config.image_tower.features)  # none is decoded
    unreadable = [] if no_images else find_unreadable(groups, max_pixels=config.max_pixels)
    for each in unreadable[:20]:
        print(f"skipped: {each.image}: {each.reason}", file=sys.stderr)
    # Training checked the limit over all splits together; images known to the run may exceed it in one split alone.
    known = {each.image for each in read_skipped(run.path) or []}
    new = any(each.image not in known for each in unreadable)
    groups = drop_unreadable(groups, unreadable, config.max_broken_percent if new else 100.0)
    same_settings = all(override.partition("=")[0].strip() in PLACES for override in overrides)
    if same_settings and not config.dataset.merge:  # one split alone does not show the duplicates of another
        _warn_of_other_data(run, split, group_records(groups, config.dataset.root, config.dataset.images))
    items, settings = flatten(groups), arguments(config.image) | arguments(config.evaluation)
    embed = embedder(model, items, run.vocabulary, **settings, features=given_features(config, items))
    return model, config, groups, embed()


def _read_split(config: Config, run: Run) -> list[Group]:
    """Read the dataset of a run; where it is not there, say how to name its place."""
    try:
        return read_dataset(**arguments(config.dataset))
    except FileNotFoundError as error:
        setting = "dataset.shards" if config.dataset.shards else "dataset.root"
        raise FileNotFoundError(
            f"{error}\nIf the data of {run.path} has moved, add its folder to the command: --set {setting}=FOLDER"
        ) from error


def _warn_of_other_data(run: Run, split: str, now: Sequence[GroupRecord]) -> None:
    """Warn where a split is not the one with which the run was trained, as far as the run has a record of it."""
    before = [record for record in read_records(run.path) or [] if record.split == split]
    if before and before != list(now):
        warnings.warn(
            f"the {split} split has changed since {run.path} was trained ({'; '.join(differences(before, now))}); the "
            "figures are those of the present data",
            stacklevel=2,
        )
