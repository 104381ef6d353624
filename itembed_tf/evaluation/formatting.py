"""Retrieval tables and comparisons as lines of text for the console."""

from __future__ import annotations

from itembed_tf.evaluation.catalogue import scored_directions
from itembed_tf.evaluation.comparison import Comparison
from itembed_tf.retrieval import CUTOFFS, DIRECTION_NAMES, QUERY_DIRECTIONS, QueryFigures, RetrievalTable

RECALLS = tuple(f"R@{k}" for k in CUTOFFS)


def format_table(table: RetrievalTable) -> str:
    """The table as lines to print: each direction with its 95 % intervals and the chance level below."""
    lines = [table.protocol, f"{'':14}{'R@1':>7}{'R@5':>7}{'R@10':>7}{'MedR':>8}{'MeanR':>9}"]
    galleries = {
        "image_query": f"{table.gallery_captions:,} captions",
        "text_query": f"{table.gallery_images:,} images",
    }
    directions = scored_directions(table.name)
    for direction in directions:
        lines += _direction_lines(DIRECTION_NAMES[direction], table[direction], galleries[direction])
    if directions == QUERY_DIRECTIONS:
        interval = table.rsum_interval and f"95 %: {table.rsum_interval[0]:.1f} to {table.rsum_interval[1]:.1f}"
        chance = sum(table[d].chance.get(name, 0.0) for d in directions for name in RECALLS)
        notes = [note for note in (interval, f"chance: {chance:.1f}" if chance else "") if note]
        lines.append(f"rsum {table.rsum:.1f}" + (f"  ({'; '.join(notes)})" if notes else ""))
    if all(table[direction].chance for direction in directions):
        lines.append(_chance_note(table, directions))
    return "\n".join(lines)


def _direction_lines(name: str, figures: QueryFigures, gallery: str) -> list[str]:
    lines = [f"{name:14}{_row(figures.values)}   gallery: {gallery}"]
    if figures.intervals:
        for i, title in enumerate(("95 % from", "to")):
            lines.append(f"{title:>12}  " + "".join(f"{figures.intervals[recall][i]:7.1f}" for recall in RECALLS))
    if figures.chance:
        lines.append(f"{'chance':>12}  {_row(figures.chance)}")
    for rate in figures.other_rates:
        low_high = figures.intervals.get(rate)
        interval = f"  (95 %: {low_high[0]:.1f} to {low_high[1]:.1f})" if low_high else ""
        lines.append(f"{rate:>12}  {figures[rate]:7.1f}{interval}")
    return lines


def _row(values: dict[str, float]) -> str:
    return "".join(f"{values[recall]:7.1f}" for recall in RECALLS) + f"{values['MedR']:8,.0f}{values['MeanR']:9,.1f}"


def _chance_note(table: RetrievalTable, directions: tuple[str, ...]) -> str:
    """What the chance level means, and how many answers are correct where it is not one."""
    counts = {
        "image_query": f"an image has {table.image_query.correct_answers:.3g} correct captions",
        "text_query": f"a caption has {table.text_query.correct_answers:.3g} correct images",
    }
    several = [counts[direction] for direction in directions if table[direction].correct_answers > 1]
    note = "chance: expected for a random order of this gallery"
    return note + (f"; on average {' and '.join(several)}" if several else "")


def format_comparison(comparison: Comparison) -> str:
    """The comparison as lines to print."""
    runs = " against ".join(f"{count} run{'s' if count > 1 else ''}" for count in comparison.runs)
    lines = [f"{comparison.protocol}; {comparison.groups:,} groups; {runs}"]
    lines.append(f"{'':26}{'A':>7}{'B':>7}{'A - B':>8}    95 % interval of A - B")
    for key, figure in comparison.figures.items():
        direction, _, measure = key.partition(" ")
        name = f"{DIRECTION_NAMES[direction]}  {measure}" if measure else key
        low, high = figure.interval_95
        values = f"{figure.a:7.1f}{figure.b:7.1f}{figure.difference:+8.1f}"
        lines.append(f"{name:26}{values}    {low:+6.1f} to {high:+6.1f}  {figure.verdict}")
    if max(comparison.runs) == 1:
        lines.append("One run on each side: this compares two trained models. Another seed would change both.")
    lines.append(
        "At the 95 % level about one line in twenty differs by chance; choose the line that matters beforehand."
    )
    return "\n".join(lines)
