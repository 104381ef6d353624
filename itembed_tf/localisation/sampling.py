"""Which regions and phrases a step sees: pairs in a drawn order, with further positives on both sides (NumPy).

A region and a phrase are a pair where the data set says so anywhere; all else in a batch is a negative. So a pair waits
for the next batch where it would bring a phrase that a region there is known to bear, or a region for a phrase there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

MOST_REGIONS = 10  # of one phrase in training


@dataclass(frozen=True)
class Pairs:
    pairs: list[tuple[int, int]]  # region, phrase
    regions_of: Mapping[int, list[int]]  # of a phrase; at most MOST_REGIONS
    phrases_of: Mapping[int, list[int]]  # of a region


@dataclass(frozen=True)
class Batch:
    """Row i of both is a positive pair; rows of one label are no negatives of each other."""

    regions: np.ndarray  # int64 [b]
    phrases: np.ndarray  # int64 [b]
    labels: np.ndarray  # int32 [b]


def known_pairs(found: Iterable[tuple[int, int]], seed: int) -> Pairs:
    """Every region-phrase pair once; of a phrase with more than MOST_REGIONS regions as many are drawn, for good."""
    rng = np.random.default_rng(seed)
    regions_of, phrases_of = defaultdict(list), defaultdict(list)
    for region, phrase in dict.fromkeys(found):
        regions_of[phrase].append(region)
        phrases_of[region].append(phrase)
    for phrase, regions in regions_of.items():
        if len(regions) > MOST_REGIONS:
            regions_of[phrase] = sorted(rng.choice(regions, MOST_REGIONS, replace=False).tolist())
    pairs = [(region, phrase) for phrase, regions in regions_of.items() for region in regions]
    return Pairs(pairs, dict(regions_of), dict(phrases_of))


def draw_batches(known: Pairs, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """One pass over the pairs, `batch_size` of them a batch; what is left over at the end waits for another order.

    Beside its pair each label has, where there is one, another region of the phrase and another phrase of the region:
    two or three rows of each.
    """
    waiting = [known.pairs[i] for i in rng.permutation(len(known.pairs))]
    while len(waiting) >= batch_size:
        rows: list[tuple[int, int, int]] = []
        later: list[tuple[int, int]] = []
        phrases: set[int] = set()  # in the batch
        borne: set[int] = set()  # by regions in the batch, whether these phrases are in it or not
        labels = used = 0
        for region, phrase in waiting:
            if labels == batch_size:
                break
            used += 1
            group = [(region, phrase)]
            others = [r for r in known.regions_of[phrase] if r != region]
            more = [p for p in known.phrases_of[region] if p != phrase]
            # The copies of a region stand together: losses then take it for one negative, not two.
            group += [(region, more[rng.integers(len(more))])] if more else []
            group += [(others[rng.integers(len(others))], phrase)] if others else []
            own = {p for _, p in group}
            bearing = {p for r, _ in group for p in known.phrases_of[r]}
            if own & borne or bearing & phrases:
                later.append((region, phrase))
                continue
            rows += [(*pair, labels) for pair in group]
            phrases |= own
            borne |= bearing
            labels += 1
        if labels < 2:
            return
        waiting = later + waiting[used:]
        columns = np.array(rows, np.int64).T
        yield Batch(columns[0], columns[1], columns[2].astype(np.int32))
