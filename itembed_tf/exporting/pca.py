"""Shorter embeddings: both encoders projected on the leading PCA axes of the training set, and the effect on dev."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.evaluation.embeddings import Embeddings, embed_split
from itembed_tf.evaluation.evaluate import evaluate_embeddings
from itembed_tf.exporting.pair import EncoderPair, load_pair
from itembed_tf.models.dual_path import project_encoder
from itembed_tf.retrieval import RetrievalTable
from itembed_tf.training.run_directory import open_run


@dataclass(frozen=True)
class PcaResult:
    """Dimensions before and after, percent of the squared length kept on train, and dev figures before and after."""

    dimensions_before: int
    dimensions: int
    kept_percent: float
    before: RetrievalTable
    after: RetrievalTable

    def to_json(self) -> dict[str, Any]:
        """The value of the key ``cut`` in ``encoders.json``."""
        return {
            "from": self.dimensions_before,
            "to": self.dimensions,
            "kept_percent": self.kept_percent,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }


def apply_pca(run: str | Path, dimensions: int, overrides: Sequence[str] = ()) -> tuple[EncoderPair, PcaResult]:
    """The encoders of a run with embeddings of fewer dimensions, and the effect on dev.

    Args:
        run: a finished run; its dataset must be available.
        dimensions: of the new embeddings, fewer than the run's.
        overrides: as `load_pair` takes them, and of the section dataset.

    Raises:
        ValueError: `dimensions` out of range, fewer embeddings of train than that, or no train or dev.
        and those of `load_pair` and `embed_split`.
    """
    of_encoders = [override for override in overrides if not override.startswith("dataset.")]
    model, pair = load_pair(run, of_encoders)
    full, opened = pair.embedding_size, open_run(run)
    if not 0 < dimensions < full:
        raise ValueError(f"the run's embeddings have {full} dimensions; --pca takes 1 to {full - 1}, not {dimensions}")
    _, _, _, train = embed_split(opened, "train", overrides, model)
    axes, kept_percent = fit_pca(train, dimensions)
    _, config, groups, dev = embed_split(opened, "dev", overrides, model)
    projected = Embeddings(project(dev.images, axes), project(dev.captions, axes))
    result = PcaResult(
        dimensions_before=full,
        dimensions=dimensions,
        kept_percent=kept_percent,
        before=evaluate_embeddings(config, "dev", groups, dev),
        after=evaluate_embeddings(config, "dev", groups, projected),
    )
    image, text = project_encoder(pair.image_encoder, axes), project_encoder(pair.text_encoder, axes)
    return replace(pair, image_encoder=image, text_encoder=text), result


def fit_pca(train: Embeddings, dimensions: int) -> tuple[np.ndarray, float]:
    """PCA without centring of images and captions together: axes float32 [D, dimensions], percent of length kept.

    Images and captions weigh the same, whatever their numbers. The mean is not subtracted: retrieval uses dot products,
    which the leading eigenvectors of the second moment preserve best (Eckart and Young, 1936), and the embedding of a
    text without any known word stays 0.

    Raises:
        ValueError: fewer embeddings than `dimensions`.
    """
    count = len(train.images) + len(train.captions)
    if count < dimensions:
        raise ValueError(f"train has {count} images and captions, too few for a PCA of {dimensions} dimensions")
    return principal_axes(train, dimensions)


def principal_axes(train: Embeddings, dimensions: int) -> tuple[np.ndarray, float]:
    """As `fit_pca`, also for fewer embeddings than dimensions: the axes that are left then hold nothing of train."""
    matrices = [embeddings.astype(np.float64) for embeddings in (train.images, train.captions)]
    moment = sum((matrix.T @ matrix / len(matrix) for matrix in matrices), start=np.zeros(())) / 2
    values, vectors = np.linalg.eigh(moment)
    axes = vectors[:, ::-1][:, :dimensions]
    # The sign of an eigenvector is arbitrary: its largest component is made positive, so that exports are reproducible.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dimensions)])
    return axes.astype(np.float32), float(100 * values[::-1][:dimensions].sum() / values.sum())


def project(embeddings: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Project embeddings [n, D] on axes [D, d] and normalise them to unit length; 0 stays 0."""
    projected = embeddings @ axes
    length = np.linalg.norm(projected, axis=1, keepdims=True)
    return projected / np.where(length > 0, length, 1)
