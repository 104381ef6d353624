"""Batches of region-phrase pairs in random order, with additional positives on both sides (NumPy only).

All combinations in a batch that are not annotated pairs are negatives. A pair is therefore deferred to a later batch if
its phrase is annotated for a region already in the batch, or its region for a phrase already in the batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

MAX_REGIONS = 10  # regions of one phrase used in training


@dataclass(frozen=True)
class Pairs:
    pairs: list[tuple[int, int]]  # region, phrase
    regions_of: Mapping[int, list[int]]  # phrase -> regions, at most MAX_REGIONS
    phrases_of: Mapping[int, list[int]]  # region -> phrases


@dataclass(frozen=True)
class Batch:
    """Row i of both is a positive pair; rows with the same label are not negatives of each other."""

    regions: np.ndarray  # int64 [b]
    phrases: np.ndarray  # int64 [b]
    labels: np.ndarray  # int32 [b]


def known_pairs(found: Iterable[tuple[int, int]], seed: int) -> Pairs:
    """Distinct region-phrase pairs; a phrase with more than MAX_REGIONS regions keeps a fixed random sample of them."""
    rng = np.random.default_rng(seed)
    regions_of, phrases_of = defaultdict(list), defaultdict(list)
    for region, phrase in dict.fromkeys(found):
        regions_of[phrase].append(region)
        phrases_of[region].append(phrase)
    for phrase, regions in regions_of.items():
        if len(regions) > MAX_REGIONS:
            regions_of[phrase] = sorted(rng.choice(regions, MAX_REGIONS, replace=False).tolist())
    pairs = [(region, phrase) for phrase, regions in regions_of.items() for region in regions]
    return Pairs(pairs, dict(regions_of), dict(phrases_of))


def draw_batches(known: Pairs, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """One epoch over the pairs, `batch_size` pairs a batch; the incomplete last batch is dropped.

    Each pair brings, where available, another region of its phrase and another phrase of its region: up to three rows
    with one label.
    """
    remaining = [known.pairs[i] for i in rng.permutation(len(known.pairs))]
    while len(remaining) >= batch_size:
        rows: list[tuple[int, int, int]] = []
        deferred: list[tuple[int, int]] = []
        phrases: set[int] = set()  # in the batch
        annotated: set[int] = set()  # phrases annotated for regions in the batch, in it or not
        labels = used = 0
        for region, phrase in remaining:
            if labels == batch_size:
                break
            used += 1
            group = [(region, phrase)]
            others = [r for r in known.regions_of[phrase] if r != region]
            more = [p for p in known.phrases_of[region] if p != phrase]
            # Copies of a region must be adjacent rows: the losses then count it as one negative.
            group += [(region, more[rng.integers(len(more))])] if more else []
            group += [(others[rng.integers(len(others))], phrase)] if others else []
            own = {p for _, p in group}
            own_annotated = {p for r, _ in group for p in known.phrases_of[r]}
            if own & annotated or own_annotated & phrases:
                deferred.append((region, phrase))
                continue
            rows += [(*pair, labels) for pair in group]
            phrases |= own
            annotated |= own_annotated
            labels += 1
        if labels < 2:
            return
        remaining = deferred + remaining[used:]
        columns = np.array(rows, np.int64).T
        yield Batch(columns[0], columns[1], columns[2].astype(np.int32))
