"""Chance level: the recalls and ranks to expect from a random order of the gallery."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from itembed_tf.retrieval.table import CUTOFFS, QueryFigures, RetrievalTable


def chance_figures(relevant: NDArray[np.integer], gallery: int) -> dict[str, float]:
    """R@1, R@5, R@10 in percent, MedR and MeanR of a random order.

    Args:
        relevant: int [n], number of correct items of each query, at least 1.
        gallery: number of items.
    """
    median, mean = chance_ranks(relevant, gallery)
    return {**{f"R@{k}": chance_recall(relevant, gallery, k) for k in CUTOFFS}, "MedR": median, "MeanR": mean}


def with_chance(
    table: RetrievalTable, image_groups: NDArray[np.integer], caption_groups: NDArray[np.integer]
) -> RetrievalTable:
    """The table with the chance level of both query directions.

    Args:
        table: of a gallery of all images and captions.
        image_groups, caption_groups: the group of each image and caption, from 0.
    """
    size = 1 + int(max(image_groups.max(), caption_groups.max()))
    captions = np.bincount(caption_groups, minlength=size)[image_groups]  # correct ones of each image
    images = np.bincount(image_groups, minlength=size)[caption_groups]
    return replace(
        table,
        image_query=_with_chance(table.image_query, captions, len(caption_groups)),
        text_query=_with_chance(table.text_query, images, len(image_groups)),
    )


def _with_chance(figures: QueryFigures, relevant: NDArray[np.integer], gallery: int) -> QueryFigures:
    return replace(figures, chance=chance_figures(relevant, gallery), correct_answers=float(relevant.mean()))


def chance_recall(relevant: NDArray[np.integer], gallery: int, k: int) -> float:
    """Recall@k of a random order in percent; arguments as for `chance_figures`."""
    correct = np.asarray(relevant, np.float64)
    miss = np.ones_like(correct)
    for place in range(min(k, gallery)):  # probability of no correct item at this place, given none before it
        miss *= np.clip(gallery - correct - place, 0, None) / (gallery - place)
    return float(100 * (1 - miss).mean())


def chance_ranks(relevant: NDArray[np.integer], gallery: int) -> tuple[float, float]:
    """Median and mean of the best rank in a random order; with g correct items of N, the mean is (N + 1) / (g + 1).

    The median is the smallest k with more than half of the queries answered, as in `rank_figures`.
    """
    mean = float(((gallery + 1) / (np.asarray(relevant) + 1)).mean())
    sizes, counts = np.unique(relevant, return_counts=True)
    miss, share, place = np.ones(len(sizes)), counts / counts.sum(), 0
    while place < gallery and float((miss * share).sum()) >= 0.5 - 1e-9:  # the product rounds
        miss *= np.clip(gallery - sizes - place, 0, None) / (gallery - place)
        place += 1
    return float(max(place, 1)), mean
