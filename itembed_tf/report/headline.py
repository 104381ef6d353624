"""What was reached, in numbers and in plain words, with the chance level beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Table = Mapping[str, Any]


def chance_recall(relevant: np.ndarray, gallery: int, k: int) -> float:
    """Percent of queries that have a right item among the first k of a random order.

    Args:
        relevant: int [n], right items of each query in the gallery.
        gallery: items in the gallery.
    """
    right = np.asarray(relevant, np.float64)
    miss = np.ones_like(right)
    for place in range(min(k, gallery)):  # no right item at this place, given none before it
        miss *= np.clip(gallery - right - place, 0, None) / (gallery - place)
    return float(100 * (1 - miss).mean())


def chance_ranks(relevant: np.ndarray, gallery: int) -> tuple[float, float]:
    """Median and mean of the best rank in a random order; the first of g right items lies at (N + 1) / (g + 1).

    The median is the least k with more than half of the queries found, as in `itembed_tf.retrieval`.
    """
    mean = float(((gallery + 1) / (np.asarray(relevant) + 1)).mean())
    sizes, counts = np.unique(relevant, return_counts=True)
    miss, share, place = np.ones(len(sizes)), counts / counts.sum(), 0
    while place < gallery and float((miss * share).sum()) >= 0.5:
        miss *= np.clip(gallery - sizes - place, 0, None) / (gallery - place)
        place += 1
    return float(max(place, 1)), mean


def direction(table: Table, bounds: Table, query_groups: np.ndarray, item_groups: np.ndarray) -> list[dict[str, Any]]:
    """Rows of one direction: name; value, 95 % interval and chance as text; and all of them as percent of the bar.

    Args:
        table: figures of one query by name, as metrics.json holds them.
        bounds: [lower, upper] of those that have an interval; may be empty.
        query_groups, item_groups: int [n]; equal numbers belong together.
    """
    groups, counts = np.unique(item_groups, return_counts=True)
    relevant = counts[np.searchsorted(groups, query_groups).clip(max=len(groups) - 1)] if len(groups) else counts
    gallery = len(item_groups)
    rows = []
    for k in (1, 5, 10):
        value = float(table[f"R@{k}"])
        chance = chance_recall(relevant, gallery, k) if gallery else None
        rows.append(_percent(f"R@{k}", value, bounds, chance))
    for name in [name for name in table if name not in ("R@1", "R@5", "R@10", "MedR", "MeanR")]:
        rows.append(_percent(name, float(table[name]), bounds, None))
    middle, mean = chance_ranks(relevant, gallery) if gallery else (None, None)
    rows.append(_row("Median rank", f"{table['MedR']:,.0f}", "–" if middle is None else f"{middle:,.0f}"))
    rows.append(_row("Mean rank", f"{table['MeanR']:,.1f}", "–" if mean is None else f"{mean:,.1f}"))
    return rows


def _percent(name: str, value: float, bounds: Table, chance: float | None) -> dict[str, Any]:
    row = _row(name, f"{value:.1f} %", "–" if chance is None else f"{chance:.1f} %")
    if name in bounds:
        low, high = bounds[name]
        row |= {"interval": f"{low:.1f} to {high:.1f}", "low": low, "high": high}
    return row | {"bar": value, "tick": chance}


def _row(name: str, value: str, chance: str) -> dict[str, Any]:
    none = {"interval": "", "low": None, "high": None, "bar": None, "tick": None}
    return {"name": name, "value": value, "chance": chance, **none}


def sentence(table: Table, queries: int, query: str, item: str) -> str:
    """One direction in plain words: "Of 1,000 sentence queries, 48 % have the right picture among the first ten"."""
    first, ten, median = float(table["R@1"]), float(table["R@10"]), float(table["MedR"])
    half = f"; half of them have it in place {median:,.0f} or better" if median > 1 else ""
    return (
        f"Of {queries:,} {query} queries, {ten:.0f} % have the right {item} among the first ten "
        f"and {first:.0f} % in the very first place{half}."
    )
