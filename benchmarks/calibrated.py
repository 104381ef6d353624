"""Shared by `benchmarks.hubness` and `benchmarks.bands`: banks and dev embeddings of a run, and halves of dev."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.data.batches import flatten
from itembed_tf.evaluation.calibration import Side
from itembed_tf.evaluation.embeddings import embed_split
from itembed_tf.exporting import EncoderPair, load_pair
from itembed_tf.exporting.calibration import calibration_of_export
from itembed_tf.retrieval import Calibration
from itembed_tf.training.run_directory import open_run


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
    """Embed dev of a finished run; its calibration is that of its encoders, measured now where it has none."""
    model, pair = load_pair(run)
    calibration, line = calibration_of_export(run, pair)
    if calibration is None:
        raise SystemExit(f"{run}: {line}")
    _, _, groups, embeddings = embed_split(open_run(run), "dev", model=model)
    items = flatten(groups)
    known = np.flatnonzero(pair.vocabulary.encode(items.captions).any(axis=1))
    captions = Side(embeddings.captions[known], items.caption_groups[known])
    texts = [items.captions[i] for i in known]
    return Calibrated(pair, calibration, Dev(Side(embeddings.images, items.image_groups), captions, texts))


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
