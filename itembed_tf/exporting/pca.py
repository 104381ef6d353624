"""A finished run -> its encoders with a shorter output, along the axes that train needs most; what it costs on dev."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.evaluation.embeddings import Embeddings, embed_split, metrics_block
from itembed_tf.exporting import run_encoders, sides
from itembed_tf.models.dual_path import cut_encoder
from itembed_tf.training.run_directory import open_run


def cut_run(run: str | Path, size: int, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both encoders of a run cut to `size` numbers, and what that costs.

    Args:
        run: a finished run; its data set must be at hand.
        size: numbers of an embedding, less than the run's.
        overrides: as `itembed_tf.exporting.run_encoders` takes them, and of the section dataset.

    Returns:
        The pair as `itembed_tf.exporting.sides` has it; and ``from``, ``to``, ``kept_percent`` (of the squared length
        of train's embeddings, mean of both sides), ``before`` and ``after`` (`itembed_tf.evaluate.metrics_block` of
        dev).

    Raises:
        ValueError: a size that cuts nothing off or all, fewer embeddings of train than `size`, or no train or dev.
        and those of `run_encoders` and `embed_split`.
    """
    of_encoders = [override for override in overrides if not override.startswith("dataset.")]
    encoders = run_encoders(run, of_encoders)
    opened, model, pair = open_run(run), encoders["model"], sides(**encoders)
    whole = pair["image_encoder"].output.shape[-1]
    if not 0 < size < whole:
        raise ValueError(f"the run's embeddings have {whole} numbers; choose a cut from 1 to {whole - 1}, not {size}")
    _, _, _, train = embed_split(opened, "train", overrides, model)
    axes, kept = fit_axes(train, size)
    _, config, groups, dev = embed_split(opened, "dev", overrides, model)
    before = metrics_block(config, "dev", groups, dev)
    after = metrics_block(config, "dev", groups, Embeddings(shorten(dev.images, axes), shorten(dev.captions, axes)))
    for side in ("image_encoder", "text_encoder"):
        pair[side] = cut_encoder(pair[side], axes)
    return pair, {"from": whole, "to": size, "kept_percent": kept, "before": before, "after": after}


def fit_axes(train: Embeddings, size: int) -> tuple[np.ndarray, float]:
    """PCA of both sides together, each side weighing the same: axes float32 [D, size], percent of the length kept.

    The mean is not taken off: what counts is dot products, which the leading eigenvectors of the second moment keep
    best (Eckart and Young, 1936), and a vector without any known word stays 0.

    Raises:
        ValueError: fewer embeddings than `size`.
    """
    count = len(train.images) + len(train.captions)
    if count < size:
        raise ValueError(f"train has {count} pictures and captions, too few to choose {size} axes from")
    matrices = [side.astype(np.float64) for side in (train.images, train.captions)]
    moment = sum((side.T @ side / len(side) for side in matrices), start=np.zeros(())) / 2
    values, vectors = np.linalg.eigh(moment)
    axes = vectors[:, ::-1][:, :size]
    # An eigenvector's sign is free: the largest number of each is made positive, so that a cut can be repeated.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(size)])
    return axes.astype(np.float32), float(100 * values[::-1][:size].sum() / values.sum())


def shorten(embeddings: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Embeddings [n, D] along the axes [D, size], of unit length again; 0 stays 0."""
    short = embeddings @ axes
    length = np.linalg.norm(short, axis=1, keepdims=True)
    return short / np.where(length > 0, length, 1)
