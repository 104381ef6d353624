"""Paired comparison of runs: differences of their figures with 95 % bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.evaluation.measurement import QueryRanks, query_clusters
from itembed_tf.evaluation.rank_files import RunRanks, read_ranks
from itembed_tf.retrieval import QUERY_DIRECTIONS, RESAMPLES, SEED, Interval, interval_95, resampled_means

# Fields of `RunRanks` that must be equal, and what they are called in an error.
COMPARABLE = {
    "dataset": "datasets",
    "split": "splits",
    "name": "protocols or gallery sizes",
    "gallery": "images or captions",
}
SeedRuns = list[dict[str, QueryRanks]]  # one element per training seed


@dataclass(frozen=True)
class Difference:
    """One figure of A and B, in percent, with their difference A - B and its 95 % interval."""

    a: float
    b: float
    difference: float
    interval_95: Interval

    @property
    def verdict(self) -> str:
        """Which side is better, "undecided" if the interval contains 0."""
        low, high = self.interval_95
        return "A is better" if low > 0 else "B is better" if high < 0 else "undecided"


@dataclass(frozen=True)
class Comparison:
    """A comparison of two sides, each one run or several seeds of one recipe.

    Attributes:
        protocol: dataset, split and protocol in words.
        runs: number of runs of A and of B.
        groups: number of resampled groups.
        figures: "image_query R@1", ..., "rsum" -> difference.
    """

    protocol: str
    runs: tuple[int, int]
    groups: int
    figures: dict[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values, with the verdict of each figure."""
        figures = {name: {**asdict(each), "verdict": each.verdict} for name, each in self.figures.items()}
        return {"protocol": self.protocol, "runs": self.runs, "groups": self.groups, "figures": figures}


def compare_runs(
    runs: Sequence[str | Path],
    against: Sequence[str | Path],
    split: str,
    protocol: str | None = None,
    *,
    corrected: bool = False,
) -> Comparison:
    """Compare runs by the ranks stored in their run directories.

    The bootstrap resamples groups, each with all of its queries, the same for both sides, so that the difficulty of an
    image cancels out. With several runs of a side, their means are compared and the variation between seeds is added:
    Student's t with the standard error of the difference of means. The variance is pooled over both sides, because
    three runs estimate it too poorly alone.

    With `corrected`, the ranks are those of hubness-corrected scores.

    Raises:
        FileNotFoundError: a run was not evaluated on the split.
        ValueError: the runs differ in dataset, split, protocol or gallery.
    """
    sides = [[read_ranks(run, split, protocol, corrected=corrected) for run in side] for side in (runs, against)]
    first = sides[0][0]
    for run, ranks in zip([*runs, *against], [*sides[0], *sides[1]]):
        _check_comparable(runs[0], first, run, ranks)
    return Comparison(
        protocol=first.protocol.partition(";")[0],
        runs=(len(runs), len(against)),
        groups=query_clusters(first.queries)[0],
        figures=differences(*([ranks.queries for ranks in side] for side in sides)),
    )


def _check_comparable(first_run: str | Path, first: RunRanks, run: str | Path, ranks: RunRanks) -> None:
    for key, title in COMPARABLE.items():
        one, other = getattr(first, key), getattr(ranks, key)
        if one != other:
            raise ValueError(f"{first_run} and {run} cannot be compared: their {title} differ ({one}, {other})")
    if any(not np.array_equal(ranks.queries[d].groups, first.queries[d].groups) for d in QUERY_DIRECTIONS):
        raise ValueError(f"{first_run} and {run} cannot be compared: their queries differ")


def differences(a: SeedRuns, b: SeedRuns, *, resamples: int = RESAMPLES) -> dict[str, Difference]:
    """The figures of `Comparison`, from the per-query ranks of each run."""
    groups, clusters = query_clusters(a[0])
    names = [f"{direction} {name}" for direction in QUERY_DIRECTIONS for name in a[0][direction].per_query()]
    resampled, means = [], []
    for direction in QUERY_DIRECTIONS:
        values = [[np.column_stack(list(run[direction].per_query().values())) for run in side] for side in (a, b)]
        paired = np.mean(values[0], axis=0) - np.mean(values[1], axis=0)
        resampled.append(100 * resampled_means(paired, clusters[direction], groups, resamples=resamples))
        means.append([[100 * run.mean(axis=0) for run in side] for side in values])
    by_run = [_with_rsum(np.concatenate([np.array(part[i]) for part in means], axis=1), names) for i in (0, 1)]
    draws = _with_rsum(np.concatenate(resampled, axis=1), names) + _seed_draws(by_run[0], by_run[1], resamples)
    intervals = interval_95(draws)
    figures = {}
    for i, name in enumerate([*names, "rsum"]):
        one, other = (float(side[:, i].mean()) for side in by_run)
        figures[name] = Difference(one, other, one - other, (float(intervals[i, 0]), float(intervals[i, 1])))
    return figures


def _with_rsum(figures: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    recalls = [i for i, name in enumerate(names) if " R@" in name]
    return np.column_stack([figures, figures[:, recalls].sum(axis=1)])


def _seed_draws(a: NDArray[np.float64], b: NDArray[np.float64], resamples: int) -> NDArray[np.float64]:
    """Variation of the difference of means between seeds: [resamples, figures]; 0 where each side has one run."""
    freedom = len(a) + len(b) - 2
    if not freedom:
        return np.zeros((1, a.shape[1]))
    squares = sum(((side - side.mean(axis=0)) ** 2).sum(axis=0) for side in (a, b))
    error = np.sqrt(squares / freedom * (1 / len(a) + 1 / len(b)))
    return error * np.random.default_rng((SEED, 1)).standard_t(freedom, (resamples, 1))
