"""Rank the proposals of each phrase by distance; recalls, upper bound, baselines; hard-negative mining."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from itembed_tf.localisation.boxes import overlaps
from itembed_tf.localisation.regions import LocatedPhrase, Regions

MIN_IOU = 0.5  # intersection over union from which a box counts as correct
CUTS = (1, 5, 10)
MAX_HARD = 50  # hard negatives of one phrase
TOP = 10  # nearest proposals stored for each phrase

Embed = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Localisation:
    """Result of one phrase."""

    phrase: LocatedPhrase
    best: np.ndarray  # int64 [<= TOP], rows of the nearest proposals, nearest first
    overlap: np.ndarray  # float64, IoU of these with the true box
    rank: int  # rank of the first correct proposal, from 1; 0 if none is correct
    correct: int  # number of correct proposals of the image
    proposals: int  # number of proposals of the image
    whole: float  # IoU of the whole image with the true box


def search(
    regions: Regions, phrases: np.ndarray, row_of_phrase: dict[str, int], embed: dict[str, Embed]
) -> list[Localisation]:
    """Rank the proposals of every located phrase of a split by distance.

    Args:
        regions: of the split.
        phrases: features of normalised phrases, float32 [P, F].
        row_of_phrase: normalised phrase -> row of `phrases`.
        embed: for "region" and "phrase", a function from features to unit-length embeddings.
    """
    results = []
    embedded = embed["phrase"](phrases)
    for image, located in tqdm(_by_image(regions), desc="localising", unit=" images"):
        rows = regions.proposed[image]
        scores = (
            embed["region"](regions.rows(rows)) @ embedded[[row_of_phrase[phrase.normalised] for phrase in located]].T
        )
        order = np.argsort(-scores, axis=0, kind="stable")
        true = regions.boxes[[phrase.row for phrase in located]]
        iou = overlaps(true, regions.boxes[rows])
        width, height = regions.images[image].width, regions.images[image].height
        whole = overlaps(true, np.array([[0, 0, width - 1, height - 1]]))[:, 0]
        for i, phrase in enumerate(located):
            correct = iou[i, order[:, i]] >= MIN_IOU
            best = order[:TOP, i]
            results.append(
                Localisation(
                    phrase,
                    best=rows.start + best,
                    overlap=iou[i, best],
                    rank=int(correct.argmax()) + 1 if correct.any() else 0,
                    correct=int(correct.sum()),
                    proposals=len(correct),
                    whole=float(whole[i]),
                )
            )
    return results


def metrics_table(results: Sequence[Localisation]) -> dict[str, Any]:
    """Metrics in percent: of all phrases ("all") and of each type ("types"; a phrase counts under each of its types).

    Each holds "phrases" (count), "R@1", "R@5", "R@10", the same for proposals in random order ("random"), "whole_image"
    (a box around the whole image) and "upper_bound" (phrases with at least one correct proposal).
    """
    by_type: dict[str, list[Localisation]] = defaultdict(list)
    for each in results:
        for type in each.phrase.types:
            by_type[type].append(each)
    return {"all": _metrics(results), "types": {type: _metrics(by_type[type]) for type in sorted(by_type)}}


def hard_negatives(
    regions: Regions, phrases: np.ndarray, row_of_phrase: dict[str, int], embed: dict[str, Embed], *, margin: float
) -> dict[int, np.ndarray]:
    """Mine the hard negatives of each phrase: rows int64, nearest first, at most MAX_HARD.

    A hard negative is a proposal that violates the margin: nearer to the phrase than its true box, or farther by less
    than the margin. (The paper uses margin 0, which leaves none once the network fits its training images.) Only
    images annotated with the phrase are searched. Proposals with an IoU of 0.5 or more with a true box of the phrase
    are correct and therefore not negatives (not specified in the paper).
    """
    nearer: dict[int, list[tuple[float, int]]] = defaultdict(list)
    embedded = embed["phrase"](phrases)
    for image, located in tqdm(_by_image(regions), desc="hard negatives", unit=" images"):
        rows = regions.proposed[image]
        embedded_regions = embed["region"](regions.rows(rows))
        true_rows: dict[int, list[int]] = defaultdict(list)
        for each in located:
            true_rows[row_of_phrase[each.normalised]].append(each.row)
        for phrase, true in true_rows.items():
            truth = _distance(embed["region"](regions.rows(np.array(true))) @ embedded[phrase]).max()
            distances = _distance(embedded_regions @ embedded[phrase])
            wrong = (overlaps(regions.boxes[true], regions.boxes[rows]) < MIN_IOU).all(axis=0)
            near = np.flatnonzero(wrong & (distances < truth + margin))
            nearer[phrase] += [(float(distances[i]), rows.start + int(i)) for i in near]
    return {
        phrase: np.array([row for _, row in sorted(rows)[:MAX_HARD]], np.int64)
        for phrase, rows in nearer.items()
        if rows
    }


def _distance(cosine: np.ndarray) -> np.ndarray:
    """Euclidean distance of unit vectors from their cosine."""
    return np.sqrt(np.maximum(2 - 2 * cosine, 0))


def _by_image(regions: Regions) -> list[tuple[int, list[LocatedPhrase]]]:
    phrases: dict[int, list[LocatedPhrase]] = defaultdict(list)
    for phrase in regions.located:
        phrases[phrase.image].append(phrase)
    return list(phrases.items())


def _metrics(results: Sequence[Localisation]) -> dict[str, Any]:
    def percent(values: Sequence[float]) -> float:
        return round(100 * math.fsum(values) / len(results), 2)

    metrics: dict[str, Any] = {"phrases": len(results)}
    metrics |= {f"R@{k}": percent([0 < each.rank <= k for each in results]) for k in CUTS}
    metrics["random"] = {
        f"R@{k}": percent([chance_recall(each.correct, each.proposals, k) for each in results]) for k in CUTS
    }
    metrics["whole_image"] = percent([each.whole >= MIN_IOU for each in results])
    metrics["upper_bound"] = percent([each.correct > 0 for each in results])
    return metrics


def chance_recall(correct: int, proposals: int, k: int) -> float:
    """Expected R@k of proposals in random order."""
    return 1 - math.comb(proposals - correct, k) / math.comb(proposals, k) if k < proposals else float(correct > 0)
