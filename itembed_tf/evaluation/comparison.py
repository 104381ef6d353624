"""Comparison of runs: differences of their figures, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.evaluation.protocols import QUERY_DIRECTIONS, QueryRanks, per_query
from itembed_tf.evaluation.rank_files import read_ranks
from itembed_tf.retrieval import RESAMPLES, SEED, interval_95, resampled_means

SAME = ("dataset", "split", "name", "gallery")
WORDS = {"dataset": "data sets", "split": "splits", "name": "protocols or sizes", "gallery": "pictures or captions"}
Side = list[dict[str, QueryRanks]]


def compare_runs(
    runs: Sequence[str | Path], against: Sequence[str | Path], split: str, protocol: str | None = None
) -> dict[str, Any]:
    """Both sides' figures, their difference, and its 95 % interval, from the ranks kept in the run directories.

    The bootstrap draws pictures (groups), each with all of its queries, the same for both sides: what makes a picture
    hard for both cancels out. With several runs of a side, their mean is compared, and what seeds move is added as
    Student's t with the standard error of the difference of means; both sides are taken to vary alike (the pooled
    variance), since three runs tell so little of their own.

    Returns:
        {"protocol", "runs": [a, b], "groups", "figures": {"image_query R@1": {"a", "b", "difference", "interval_95"},
        ..., "rsum"}}: percent, a minus b.

    Raises:
        FileNotFoundError: a run that was not measured on the split.
        ValueError: the runs are of different data sets, splits, protocols or galleries; it says which.
    """
    read = [[read_ranks(run, split, protocol) for run in side] for side in (runs, against)]
    first = read[0][0]
    for run, (told, asked) in zip([*runs, *against], [*read[0], *read[1]]):
        for key in SAME:
            if told[key] != first[0][key]:
                raise ValueError(
                    f"{runs[0]} and {run} cannot be compared: their {WORDS[key]} differ ({first[0][key]}, {told[key]})"
                )
        if any(not np.array_equal(asked[way].groups, first[1][way].groups) for way in QUERY_DIRECTIONS):
            raise ValueError(f"{runs[0]} and {run} cannot be compared: their queries differ")
    sides = [[asked for _, asked in side] for side in read]
    return {
        "protocol": first[0]["protocol"].partition(";")[0],
        "runs": [len(side) for side in sides],
        "groups": len(np.unique(np.concatenate([first[1][way].groups for way in QUERY_DIRECTIONS]))),
        "figures": differences(*sides),
    }


def differences(a: Side, b: Side, *, resamples: int = RESAMPLES) -> dict[str, dict[str, Any]]:
    """`compare_runs`'s figures, from what became of the queries of each run."""
    names, numbers = np.unique(np.concatenate([a[0][way].groups for way in QUERY_DIRECTIONS]), return_inverse=True)
    clusters = dict(zip(QUERY_DIRECTIONS, np.split(numbers, [len(a[0]["image_query"].groups)])))
    keys = [f"{way} {key}" for way in QUERY_DIRECTIONS for key in per_query(a[0][way])]
    drawn, means = [], []
    for way in QUERY_DIRECTIONS:
        values = [[np.column_stack(list(per_query(run[way]).values())) for run in side] for side in (a, b)]
        apart = np.mean(values[0], axis=0) - np.mean(values[1], axis=0)
        drawn.append(100 * resampled_means(apart, clusters[way], len(names), resamples=resamples))
        means.append([[100 * run.mean(axis=0) for run in side] for side in values])
    draws = _with_sum(np.concatenate(drawn, axis=1), keys)
    by_run = [_with_sum(np.concatenate([np.array(part[i]) for part in means], axis=1), keys) for i in (0, 1)]
    intervals = interval_95(draws + _seed_draws(by_run[0], by_run[1], resamples))
    found = {}
    for i, key in enumerate([*keys, "rsum"]):
        mean = [float(side[:, i].mean()) for side in by_run]
        found[key] = {"a": mean[0], "b": mean[1], "difference": mean[0] - mean[1], "interval_95": intervals[i].tolist()}
    return found


def _with_sum(figures: NDArray[np.float64], keys: Sequence[str]) -> NDArray[np.float64]:
    recalls = [i for i, key in enumerate(keys) if " R@" in key]
    return np.column_stack([figures, figures[:, recalls].sum(axis=1)])


def _seed_draws(a: NDArray[np.float64], b: NDArray[np.float64], resamples: int) -> NDArray[np.float64]:
    """What seeds may move the difference of the means by: [resamples, figures]; 0 where no side has two runs."""
    free = len(a) + len(b) - 2
    if not free:
        return np.zeros((1, a.shape[1]))
    squares = sum(((side - side.mean(axis=0)) ** 2).sum(axis=0) for side in (a, b))
    error = np.sqrt(squares / free * (1 / len(a) + 1 / len(b)))
    return error * np.random.default_rng((SEED, 1)).standard_t(free, (resamples, 1))


def verdict(figure: dict[str, Any]) -> str:
    """Whether the interval leaves zero out."""
    low, high = figure["interval_95"]
    return "A is better" if low > 0 else "B is better" if high < 0 else "undecided"


def format_comparison(found: dict[str, Any]) -> str:
    """The comparison as lines to print."""
    runs = " against ".join(f"{n} run{'s' if n > 1 else ''}" for n in found["runs"])
    lines = [f"{found['protocol']}; {found['groups']:,} groups; {runs}"]
    lines.append(f"{'':28}{'A':>7}{'B':>7}{'A - B':>8}    95 % of A - B")
    for key, figure in found["figures"].items():
        words = key.replace("image_query", "picture query").replace("text_query", "sentence query")
        low, high = figure["interval_95"]
        lines.append(
            f"{words:28}{figure['a']:7.1f}{figure['b']:7.1f}{figure['difference']:+8.1f}    {low:+6.1f} to {high:+6.1f}"
            f"  {verdict(figure)}"
        )
    if max(found["runs"]) == 1:
        lines.append("One run a side: this compares two encoders, not two recipes; another seed moves both.")
    lines.append("At 95 % one line in twenty errs by chance; say before which line counts.")
    return "\n".join(lines)
