"""Training curves and the overlap histogram as inline SVG (matplotlib), in the light and dark colours of the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from itembed_tf.analysis.overlap import Overlap
from itembed_tf.retrieval import DIRECTION_NAMES

# Placeholder colours for matplotlib -> variables of style.css.
COLOURS = {
    "#010203": "var(--ink)",
    "#020304": "var(--faint)",
    "#030405": "var(--line)",
    "#040506": "var(--image)",
    "#050607": "var(--text)",
    "#060708": "var(--third)",
    "#070809": "var(--fourth)",
}
INK, FAINT, LINE, IMAGE, TEXT, THIRD, FOURTH = COLOURS
STYLE = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "grid.color": LINE,
    "text.color": FAINT,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.4,
}
DASHES = {"solid": "", "dashed": "5 2.5", "dotted": "1.5 2"}


class Line(NamedTuple):
    name: str
    values: list[float]  # one per epoch, NaN where it was not measured
    colour: str
    style: str


@dataclass(frozen=True)
class Chart:
    """A chart with its title, note, legend entries (name, colour, dash pattern) and text for screen readers."""

    title: str
    note: str
    svg: Markup
    label: str
    legend: Sequence[Mapping[str, str]]


History = Sequence[Mapping[str, Any]]
LOSSES = {"instance_image": ("instance, images", IMAGE, "solid"), "instance_text": ("instance, text", TEXT, "dashed")}


def training_charts(history: History) -> list[Chart]:
    """Charts of what the history contains: loss, classifier accuracy, rsum and recall on dev."""
    accuracies = [
        Line(name, [100 * value for value in _values(history, "train", f"accuracy_{side}")], colour, style)
        for side, name, colour, style in (("image", "images", IMAGE, "solid"), ("text", "captions", TEXT, "dashed"))
    ]
    rsum = Line("rsum", _values(history, "val", "rsum"), THIRD, "solid")
    charts = [
        _curve("Training loss", "mean of each epoch", history, _losses(history)),
        _curve("Classifier accuracy", "training set, % in the correct class", history, accuracies),
        _curve("rsum", "dev, sum of the six recalls (at most 600)", history, [rsum]),
    ]
    for direction, colour in (("text_query", TEXT), ("image_query", IMAGE)):
        recalls = [
            Line(f"R@{k}", _values(history, "val", direction, f"R@{k}"), colour, style)
            for k, style in ((10, "solid"), (5, "dashed"), (1, "dotted"))
        ]
        charts.append(_curve(f"Recall, {DIRECTION_NAMES[direction]}", "dev, %", history, recalls))
    return [chart for chart in charts if chart]


def _losses(history: History) -> list[Line]:
    names = list(dict.fromkeys(name for epoch in history for name in epoch.get("train", {})))
    parts = [name for name in names if name != "loss" and not name.startswith("accuracy")]
    spare = [(THIRD, "solid"), (FOURTH, "dashed"), (THIRD, "dotted"), (FOURTH, "dotted")]
    losses: list[Line] = []
    for name in parts:
        title, colour, style = LOSSES.get(name) or (name.replace("_", " "), *spare[len(losses) % len(spare)])
        losses.append(Line(title, _values(history, "train", name), colour, style))
    losses = _measured(losses)
    if len(losses) != 1:  # a single loss is the total
        losses.append(Line("weighted total", _values(history, "train", "loss"), FAINT, "dotted"))
    return losses


def overlap_charts(similarities: Overlap) -> list[Chart]:
    """The similarities of matching and other pairs as two histograms with their common area S (paper, figure 5).

    Empty without pairs of a kind.
    """
    s = similarities.s
    if math.isnan(s):
        return []
    matching, other = (100 * share for share in similarities.shares)
    edges = similarities.edges
    # a random matching pair has a higher similarity than a random other pair; ties count one half (AUC)
    auc = float(matching @ (np.cumsum(other) - other / 2)) / 100
    occupied = np.flatnonzero(matching + other > 0)
    part = slice(max(occupied[0] - 1, 0), occupied[-1] + 2)
    edges, matching, other = edges[part.start : part.stop + 1], matching[part], other[part]
    lines = [Line("other pairs", [], FAINT, "dashed"), Line("matching pairs", [], IMAGE, "solid")]
    common = Line("overlap S", [], THIRD, "solid")
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        for line, share in zip(lines, (other, matching), strict=True):
            axes.stairs(share, edges, fill=True, color=line.colour, alpha=0.18)
            axes.stairs(share, edges, color=line.colour, linewidth=1.8, linestyle=line.style)
        axes.stairs(np.minimum(matching, other), edges, fill=True, color=common.colour, alpha=0.55)
        axes.set_xlabel("cosine similarity")
        axes.set_ylabel("% of pairs")
        axes.set_ylim(bottom=0)
        svg = _svg(figure, "overlap")
    note = f"S = {s:.3f} (0 separate, 1 identical); AUC {auc:.1f} %"
    label = f"Histograms of the cosine similarity of matching and other pairs; {note}."
    return [_chart("Similarity of pairs", note, svg, [*lines, common], label)]


def _values(history: History, *path: str) -> list[float]:
    values = []
    for epoch in history:
        value: Any = epoch
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        values.append(math.nan if value is None else float(value))
    return values


def _measured(lines: list[Line]) -> list[Line]:
    return [line for line in lines if np.isfinite(line.values).any()]


def _curve(title: str, note: str, history: History, lines: list[Line]) -> Chart | None:
    lines = _measured(lines)
    if not lines:
        return None
    stages = [str(epoch.get("stage", "")) for epoch in history]
    starts = [at for at in range(len(stages)) if at == 0 or stages[at] != stages[at - 1]]
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        for line in lines:
            epochs = [at for at, value in enumerate(line.values) if math.isfinite(value)]
            values = [line.values[at] for at in epochs]
            marker = "o" if len(epochs) <= 30 else None
            axes.plot([at + 1 for at in epochs], values, color=line.colour, linestyle=line.style, marker=marker)
        for start in starts if len(starts) > 1 else []:
            if start:
                axes.axvline(start + 0.5, color=FAINT, linewidth=1, linestyle=(0, (1, 2)))
            if len(starts) <= 6:
                name = stages[start] if len(stages[start]) <= 12 else f"{stages[start][:11]}…"
                axes.text(start / len(stages) + 0.01, 1.03, f"stage {name}", transform=axes.transAxes)
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if min(np.nanmin(line.values) for line in lines) < 0 else 0)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        svg = _svg(figure, title)
    return _chart(title, note, svg, lines, f"{title} by epoch. {'; '.join(_first_and_last(line) for line in lines)}.")


def _first_and_last(line: Line) -> str:
    known = [value for value in line.values if math.isfinite(value)]
    return f"{line.name}: from {known[0]:.3g} to {known[-1]:.3g}"


def _chart(title: str, note: str, svg: Markup, lines: list[Line], label: str) -> Chart:
    legend = [{"name": line.name, "colour": COLOURS[line.colour], "dash": DASHES[line.style]} for line in lines]
    return Chart(title, note, svg, label, legend)


def _axes() -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.0, 2.45), facecolor="none", layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def _svg(figure: Figure, name: str) -> Markup:
    """The figure as SVG without prologue, metadata and namespaces; all ids start with the name of the chart."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # the same run writes the same page
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt"', "", text, count=4)
    text = text.replace("xlink:href", "href").replace("<svg", '<svg aria-hidden="true"', 1)
    prefix = "-".join(re.findall(r"\w+", name.lower()))
    text = re.sub(r'( id="| href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for placeholder, colour in COLOURS.items():
        text = text.replace(placeholder, colour)
    return Markup(text)  # matplotlib escapes labels
