"""Retrieval results as rows of the report, next to the chance level, and as one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itembed_tf.evaluation.catalogue import scored_directions
from itembed_tf.retrieval import CUTOFFS, DIRECTION_NAMES, Interval, QueryFigures, RetrievalTable


@dataclass(frozen=True)
class Row:
    """One measure of a direction: texts of the cells, and the percentages of its bar (None: no bar)."""

    name: str
    value: str
    chance: str
    interval: str = ""
    bar: float | None = None
    low: float | None = None
    high: float | None = None
    chance_bar: float | None = None


@dataclass(frozen=True)
class Direction:
    """The results of one query direction: "text → image", its kind of query ("text" or "image"), rows and sentence."""

    name: str
    query: str
    rows: Sequence[Row]
    sentence: str


def directions(table: RetrievalTable) -> list[Direction]:
    """The directions that the protocol scores, text → image first."""
    scored = scored_directions(table.name)
    queries = {"text_query": ("text", table.gallery_captions), "image_query": ("image", table.gallery_images)}
    return [
        Direction(
            DIRECTION_NAMES[key], kind, rows(table[key]), sentence(table[key], count * table.folds, kind == "text")
        )
        for key, (kind, count) in queries.items()
        if key in scored
    ]


def rows(figures: QueryFigures) -> list[Row]:
    """Recalls, other rates, median and mean rank."""
    names = [f"R@{k}" for k in CUTOFFS] + list(figures.other_rates)
    rates = [_rate(name, figures[name], figures.intervals.get(name), figures.chance.get(name)) for name in names]
    median, mean = (figures.chance.get(name) for name in ("MedR", "MeanR"))
    return [
        *rates,
        Row("Median rank", f"{figures['MedR']:,.0f}", "–" if median is None else f"{median:,.0f}"),
        Row("Mean rank", f"{figures['MeanR']:,.1f}", "–" if mean is None else f"{mean:,.1f}"),
    ]


def _rate(name: str, value: float, interval: Interval | None, chance: float | None) -> Row:
    low, high = interval or (None, None)
    return Row(
        name,
        value=f"{value:.1f} %",
        chance="–" if chance is None else f"{chance:.1f} %",
        interval="" if interval is None else f"{low:.1f} to {high:.1f}",
        bar=value,
        low=low,
        high=high,
        chance_bar=chance,
    )


def sentence(figures: QueryFigures, queries: int, of_text: bool) -> str:
    """One direction in words: "Of 1,000 captions, 48 % have a correct image among the first 10 results and ..."."""
    query, item = ("captions", "image") if of_text else ("images", "caption")
    article = "a" if figures.correct_answers > 1 else "the"
    subject = f"Of {queries:,} {query}" if queries else f"Of the {query}"
    ten, first = (f"{figures[name]:.0f}\N{NO-BREAK SPACE}%" for name in ("R@10", "R@1"))
    return f"{subject}, {ten} have {article} correct {item} among the first 10 results, {first} as the first result."
