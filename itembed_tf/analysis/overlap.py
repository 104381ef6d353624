"""Overlap S of the similarity distributions of matching and non-matching pairs (paper, eq. 10; NumPy)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 100  # of width 0.02 over [-1, 1]
IMAGES = 2_000  # a larger gallery is sampled
BLOCK = 4_000_000  # similarities in memory at a time
SEED = 0


@dataclass(frozen=True)
class Overlap:
    """Histograms of the similarities of matching and non-matching pairs, and their means before binning.

    Without pairs of a kind its counts are zero and its mean is NaN.

    Attributes:
        matching, other: int64 [bins], counts in equal bins of [-1, 1].
        mean_matching, mean_other: mean similarities.
    """

    matching: np.ndarray
    other: np.ndarray
    mean_matching: float
    mean_other: float

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins, float64 [bins + 1]."""
        return np.linspace(-1, 1, len(self.matching) + 1)

    @property
    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of the matching and of the other pairs in each bin, float64 [bins]; each sums to 1."""
        return self.matching / max(self.matching.sum(), 1), self.other / max(self.other.sum(), 1)

    @property
    def s(self) -> float:
        """S: the integral over [-1, 1] of the smaller of the two densities.

        0: no bin holds pairs of both kinds; 1: both have the same distribution. NaN without pairs of a kind.
        """
        if not self.matching.sum() or not self.other.sum():
            return float("nan")
        return float(np.minimum(*self.shares).sum())  # shares are densities times the width of a bin

    def to_json(self) -> dict[str, Any]:
        """As analysis.json holds it."""
        return {**self._figures(), "matching": self.matching.tolist(), "other": self.other.tolist()}

    def summary(self) -> dict[str, Any]:
        """As metrics.json holds it: S, the two means, and the numbers of pairs and bins."""
        pairs = {"matching_pairs": int(self.matching.sum()), "other_pairs": int(self.other.sum())}
        return {**self._figures(), **pairs, "bins": len(self.matching)}

    def _figures(self) -> dict[str, float | None]:
        figures = {"S": self.s, "mean_matching": self.mean_matching, "mean_other": self.mean_other}
        return {name: None if math.isnan(value) else round(value, 5) for name, value in figures.items()}


def similarity_overlap(
    images: np.ndarray,
    captions: np.ndarray,
    image_groups: np.ndarray,
    caption_groups: np.ndarray,
    *,
    sample: int = IMAGES,
    bins: int = BINS,
) -> Overlap:
    """Histograms over all pairs of an image and a caption; a pair matches if both belong to one group.

    Args:
        images: float32 [n, D], unit length.
        captions: float32 [m, D], unit length.
        image_groups: int [n].
        caption_groups: int [m].
        sample: of more images than this, as many are sampled (fixed seed) and paired with every caption.
        bins: number of bins over [-1, 1].

    Raises:
        ValueError: an embedding that is not finite, or longer than 1.
    """
    chosen = np.arange(len(images))
    if len(images) > sample:
        chosen = np.sort(np.random.default_rng(SEED).choice(len(images), sample, replace=False))
    counts, sums = np.zeros((2, bins), np.int64), np.zeros(2)
    for rows in np.array_split(chosen, -(-len(chosen) * max(len(captions), 1) // BLOCK) or 1):
        scores = images[rows] @ captions.T
        if scores.size and not np.abs(scores).max() <= 1.001:  # NaN too
            raise ValueError("similarities outside [-1, 1]; embeddings must be finite and of unit length")
        matches = image_groups[rows][:, None] == caption_groups
        for kind, values in enumerate((scores[matches], scores[~matches])):
            counts[kind] += np.histogram(np.clip(values, -1, 1), bins, (-1, 1))[0]
            sums[kind] += values.sum(dtype=np.float64)
    means = [float(total / count) if count else float("nan") for total, count in zip(sums, counts.sum(1), strict=True)]
    return Overlap(counts[0], counts[1], *means)
