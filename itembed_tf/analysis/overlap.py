"""How far the similarities of matching and of other pairs lie apart: two densities and their overlap S (NumPy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 100  # of width 0.02 over [-1, 1]
PICTURES = 2_000  # paired with every caption; of a larger gallery, a sample
BLOCK = 4_000_000  # similarities held at once
SEED = 0


@dataclass(frozen=True)
class Densities:
    """Similarities of matching and of other pairs as counts in equal bins of [-1, 1], and the means before binning.

    Either kind may have no pairs: its counts are zero then, and its mean is NaN.
    """

    matching: np.ndarray  # int64 [bins]
    other: np.ndarray  # int64 [bins]
    mean_matching: float
    mean_other: float

    @property
    def edges(self) -> np.ndarray:
        """The bins' bounds, float64 [bins + 1]."""
        return np.linspace(-1, 1, len(self.matching) + 1)

    @property
    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of the matching and of the other pairs in each bin, float64 [bins]; each adds up to 1."""
        return self.matching / max(self.matching.sum(), 1), self.other / max(self.other.sum(), 1)


def overlap(densities: Densities) -> float:
    """S, paper eq. 10: the integral over [-1, 1] of the smaller of the two densities.

    0: every bin holds pairs of one kind alone; 1: the two are distributed alike. NaN where a kind has no pairs.
    """
    if not densities.matching.sum() or not densities.other.sum():
        return float("nan")
    return float(np.minimum(*densities.shares).sum())  # shares are densities times the bins' width


def pair_densities(
    images: np.ndarray,
    captions: np.ndarray,
    image_groups: np.ndarray,
    caption_groups: np.ndarray,
    *,
    pictures: int = PICTURES,
    bins: int = BINS,
) -> Densities:
    """The similarities of all pairs of a picture and a caption; a pair matches where both are of one group.

    Args:
        images: float32 [n, D], unit length.
        captions: float32 [m, D], unit length.
        image_groups: int [n].
        caption_groups: int [m].
        pictures: of more than these, as many are drawn (from a fixed seed) and paired with every caption.
        bins: over [-1, 1].

    Raises:
        ValueError: an embedding that is not finite, or longer than 1.
    """
    chosen = np.arange(len(images))
    if len(images) > pictures:
        chosen = np.sort(np.random.default_rng(SEED).choice(len(images), pictures, replace=False))
    counts, sums = np.zeros((2, bins), np.int64), np.zeros(2)
    for rows in np.array_split(chosen, -(-len(chosen) * max(len(captions), 1) // BLOCK) or 1):
        scores = images[rows] @ captions.T
        if scores.size and not np.abs(scores).max() <= 1.001:  # NaN too
            raise ValueError("similarities outside [-1, 1]; the embeddings should be finite and of unit length")
        of_group = image_groups[rows][:, None] == caption_groups
        for kind, these in enumerate((scores[of_group], scores[~of_group])):
            counts[kind] += np.histogram(np.clip(these, -1, 1), bins, (-1, 1))[0]
            sums[kind] += these.sum(dtype=np.float64)
    means = [float(total / count) if count else float("nan") for total, count in zip(sums, counts.sum(1), strict=True)]
    return Densities(counts[0], counts[1], *means)
