"""Where each phrase is: proposals by their distance from it, recalls, bounds and baselines, and hard negatives."""

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

RIGHT = 0.5  # intersection over union from which a box is right
CUTS = (1, 5, 10)
MOST_HARD = 50  # of one phrase
KEPT = 10  # best proposals remembered of each phrase

Embed = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Found:
    """What became of one phrase."""

    asked: LocatedPhrase
    best: np.ndarray  # int64 [<= KEPT], rows of the proposals that are nearest, nearest first
    overlap: np.ndarray  # float64, of those with the true box
    rank: int  # of the first right proposal, from 1; 0: none is right
    right: int  # how many proposals of the picture are right
    proposals: int  # of the picture
    whole: float  # overlap of the whole picture with the true box


def search(regions: Regions, phrases: np.ndarray, number: dict[str, int], embed: dict[str, Embed]) -> list[Found]:
    """For every located phrase of a split its proposals by distance.

    Args:
        regions: of the split.
        phrases: features float32 [P, F] of plain phrases.
        number: their places by plain phrase.
        embed: "region" and "phrase": rows of features to unit embeddings.
    """
    found = []
    embedded = embed["phrase"](phrases)
    for picture, asked in tqdm(_by_picture(regions), desc="localising", unit=" pictures"):
        rows = regions.proposed[picture]
        scores = embed["region"](regions.rows(rows)) @ embedded[[number[a.plain] for a in asked]].T
        order = np.argsort(-scores, axis=0, kind="stable")
        true = regions.boxes[[a.row for a in asked]]
        shared = overlaps(true, regions.boxes[rows])
        shown = regions.pictures[picture]
        whole = overlaps(true, np.array([[0, 0, shown.width - 1, shown.height - 1]]))[:, 0]
        for i, each in enumerate(asked):
            right = shared[i, order[:, i]] >= RIGHT
            best = order[:KEPT, i]
            first = int(right.argmax()) + 1 if right.any() else 0
            found.append(
                Found(each, rows.start + best, shared[i, best], first, int(right.sum()), len(right), float(whole[i]))
            )
    return found


def table(found: Sequence[Found]) -> dict[str, Any]:
    """Figures in percent: "all" phrases, and those of each type under "types" (a phrase counts under each of its).

    Each has "phrases" (their number), "R@1", "R@5", "R@10", the same of proposals in random order under "random",
    "whole_picture" (a box around everything) and "upper_bound" (phrases of which any proposal is right).
    """
    by_type: dict[str, list[Found]] = defaultdict(list)
    for each in found:
        for type in each.asked.types:
            by_type[type].append(each)
    return {"all": _figures(found), "types": {type: _figures(by_type[type]) for type in sorted(by_type)}}


def hard_negatives(
    regions: Regions, phrases: np.ndarray, number: dict[str, int], embed: dict[str, Embed], *, margin: float
) -> dict[int, np.ndarray]:
    """Of each phrase the proposals against which a hinge would act: rows int64, nearest first, at most MOST_HARD.

    Those are nearer to the phrase than its true box, or farther by less than the margin; the paper says nearer (margin
    0), of which a network that knows its training pictures leaves none. Looked for in the pictures that the phrase is
    said of. Proposals that overlap a true box of the phrase there by half or more are right answers, and no negatives
    (the paper does not say).
    """
    nearer: dict[int, list[tuple[float, int]]] = defaultdict(list)
    embedded = embed["phrase"](phrases)
    for picture, asked in tqdm(_by_picture(regions), desc="hard negatives", unit=" pictures"):
        rows = regions.proposed[picture]
        seen = embed["region"](regions.rows(rows))
        true_rows: dict[int, list[int]] = defaultdict(list)
        for each in asked:
            true_rows[number[each.plain]].append(each.row)
        for phrase, true in true_rows.items():
            truth = _distance(embed["region"](regions.rows(np.array(true))) @ embedded[phrase]).max()
            distances = _distance(seen @ embedded[phrase])
            wrong = (overlaps(regions.boxes[true], regions.boxes[rows]) < RIGHT).all(axis=0)
            near = np.flatnonzero(wrong & (distances < truth + margin))
            nearer[phrase] += [(float(distances[i]), rows.start + int(i)) for i in near]
    return {
        phrase: np.array([row for _, row in sorted(rows)[:MOST_HARD]], np.int64)
        for phrase, rows in nearer.items()
        if rows
    }


def _distance(cosine: np.ndarray) -> np.ndarray:
    """Of unit rows, from their cosine."""
    return np.sqrt(np.maximum(2 - 2 * cosine, 0))


def _by_picture(regions: Regions) -> list[tuple[int, list[LocatedPhrase]]]:
    found: dict[int, list[LocatedPhrase]] = defaultdict(list)
    for asked in regions.asked:
        found[asked.picture].append(asked)
    return list(found.items())


def _figures(found: Sequence[Found]) -> dict[str, Any]:
    def percent(values: Sequence[float]) -> float:
        return round(100 * math.fsum(values) / len(found), 2)

    figures: dict[str, Any] = {"phrases": len(found)}
    figures |= {f"R@{k}": percent([0 < each.rank <= k for each in found]) for k in CUTS}
    figures["random"] = {f"R@{k}": percent([by_chance(each.right, each.proposals, k) for each in found]) for k in CUTS}
    figures["whole_picture"] = percent([each.whole >= RIGHT for each in found])
    figures["upper_bound"] = percent([each.right > 0 for each in found])
    return figures


def by_chance(right: int, proposals: int, k: int) -> float:
    """Share of random orders of the proposals that have one of the right ones among their first `k`."""
    return 1 - math.comb(proposals - right, k) / math.comb(proposals, k) if k < proposals else float(right > 0)
