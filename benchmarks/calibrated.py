"""Shared by `benchmarks.hubness` and `benchmarks.bands`: banks and dev embeddings of a run, and halves of dev."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from itembed_tf.config import Config, arguments, frozen_backbone
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.joined_features import Features
from itembed_tf.data.readers import read_dataset
from itembed_tf.data.unreadable import drop_unreadable
from itembed_tf.evaluation.calibration import Side
from itembed_tf.evaluation.embeddings import embedder
from itembed_tf.exporting import EncoderPair, load_pair
from itembed_tf.pipeline.calibration import measure_run
from itembed_tf.retrieval import Calibration
from itembed_tf.training.frozen_outputs import encoder_features
from itembed_tf.training.run_directory import open_run, read_skipped


@dataclass(frozen=True, eq=False)
class Dev:
    """Dev of a run: embeddings of images and of captions with a known word, and the captions themselves."""

    images: Side
    captions: Side
    texts: list[str]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The encoders of a run, their calibration, and dev."""

    pair: EncoderPair
    calibration: Calibration
    dev: Dev


def read(run: Path) -> Calibrated:
    """Calibrate a finished run and embed its dev, from cached features where no stage has changed the backbone."""
    opened = open_run(run)
    (model, pair), config = load_pair(run), opened.config
    groups = read_dataset(**{**arguments(config.dataset), "splits": ("train", "dev")})
    groups = drop_unreadable(groups, read_skipped(run) or [], max_percent=100.0)
    by_split = {split: [group for group in groups if group.split == split] for split in ("train", "dev")}
    features = features_of(config, model)
    calibration, _ = measure_run(config, pair, model, by_split, features)
    if calibration is None:
        raise SystemExit(f"{run}: its dev is too small, or calibration.rows = 0 in its config")
    items = flatten(by_split["dev"])
    settings = arguments(config.image) | arguments(config.evaluation)
    cached = features(items) if features and not config.evaluation.crops else None
    embeddings = embedder(model, items, opened.vocabulary, **settings, features=cached)()
    known = np.flatnonzero(pair.vocabulary.encode(items.captions).any(axis=1))
    captions = Side(embeddings.captions[known], items.caption_groups[known])
    dev = Dev(Side(embeddings.images, items.image_groups), captions, [items.captions[i] for i in known])
    return Calibrated(pair, calibration, dev)


def features_of(config: Config, model: keras.Model) -> Callable[[Items], Sequence[Features]] | None:
    """Cached backbone features of images, as many views as the encoder averages; None for a fine-tuned backbone."""
    if config.precision != "float32" or not frozen_backbone(config):
        return None
    flip = config.evaluation.flip
    return partial(encoder_features, config, model, views=1 + flip, mirror=flip)


def halves(dev: Dev, repeats: int) -> Iterator[tuple[tuple[Side, Side], tuple[Side, Side]]]:
    """Dev in two halves of its groups, at random: (images, captions) of one and of the other; then the two swapped."""
    groups = np.intersect1d(dev.images.groups, dev.captions.groups)
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(groups)
        one, other = (_part(dev, part) for part in np.array_split(order, 2))
        yield one, other
        yield other, one


def _part(dev: Dev, groups: NDArray[np.integer]) -> tuple[Side, Side]:
    return dev.images.of(groups), dev.captions.of(groups)
