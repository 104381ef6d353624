"""Curves of a run as inline SVG drawn by matplotlib, in the colours of the page, light or dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# What matplotlib writes -> what the page says. The first are only marks to be replaced; style.css has the colours.
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
    values: list[float]  # one an epoch, NaN where it was not measured
    colour: str
    style: str


History = Sequence[Mapping[str, Any]]
LOSSES = {"instance_image": ("pictures", IMAGE, "solid"), "instance_text": ("sentences", TEXT, "dashed")}


def curves(history: History) -> list[dict[str, Any]]:
    """One chart for each thing that the history holds: loss, classifier accuracy, rsum and recall on dev."""
    charts = []
    names = list(dict.fromkeys(name for epoch in history for name in epoch.get("train", {})))
    parts = [name for name in names if name != "loss" and not name.startswith("accuracy")]
    spare = [(THIRD, "solid"), (FOURTH, "dashed"), (THIRD, "dotted"), (FOURTH, "dotted")]
    losses: list[Line] = []
    for name in parts:
        plain, colour, style = LOSSES.get(name) or (name.replace("_", " "), *spare[len(losses) % len(spare)])
        losses.append(Line(plain, _values(history, "train", name), colour, style))
    losses = _measured(losses)
    if len(losses) != 1:  # one loss is the whole
        losses.append(Line("all, weighted", _values(history, "train", "loss"), FAINT, "dotted"))
    charts.append(_curve("Loss", "training, mean of each epoch", history, losses))
    accuracies = [
        Line(plain, [100 * value for value in _values(history, "train", f"accuracy_{side}")], colour, style)
        for side, plain, colour, style in (("image", "pictures", IMAGE, "solid"), ("text", "sentences", TEXT, "dashed"))
    ]
    charts.append(_curve("Classifier accuracy", "training, percent put in their own class", history, accuracies))
    rsum = Line("rsum", _values(history, "val", "rsum"), THIRD, "solid")
    charts.append(_curve("rsum", "dev, sum of the six recalls (at most 600)", history, [rsum]))
    ways = ("text_query", "Sentence → picture", TEXT), ("image_query", "Picture → sentence", IMAGE)
    for way, title, colour in ways:
        recalls = [
            Line(f"R@{k}", _values(history, "val", way, f"R@{k}"), colour, style)
            for k, style in ((10, "solid"), (5, "dashed"), (1, "dotted"))
        ]
        charts.append(_curve(title, "dev, percent found", history, recalls))
    return [chart for chart in charts if chart]


def overlap(told: Mapping[str, Any]) -> dict[str, Any] | None:
    """The similarities of matching and other pairs as two histograms, and the area S that they share (paper, figure 5).

    Args:
        told: "S", and counts "matching" and "other" in equal bins of [-1, 1]; S is None where a kind has no pairs.
    """
    if told["S"] is None:
        return None
    shares = [100 * np.asarray(told[kind]) / sum(told[kind]) for kind in ("other", "matching")]
    edges = np.linspace(-1, 1, len(shares[0]) + 1)
    above = float(shares[1] @ (np.cumsum(shares[0]) - shares[0] / 2)) / 100
    seen = np.flatnonzero(shares[0] + shares[1] > 0)
    part = slice(max(seen[0] - 1, 0), seen[-1] + 2)
    edges, shares = edges[part.start : part.stop + 1], [share[part] for share in shares]
    lines = [Line("other pairs", [], FAINT, "dashed"), Line("matching pairs", [], IMAGE, "solid")]
    shared = Line("S, what both share", [], THIRD, "solid")
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        for line, share in zip(lines, shares, strict=True):
            axes.stairs(share, edges, fill=True, color=line.colour, alpha=0.18)
            axes.stairs(share, edges, color=line.colour, linewidth=1.8, linestyle=line.style)
        axes.stairs(np.minimum(*shares), edges, fill=True, color=shared.colour, alpha=0.55)
        axes.set_xlabel("cosine similarity")
        axes.set_ylim(bottom=0)
        svg = _svg(figure, "overlap")
    note = f"S {told['S']:.3f} (0 apart, 1 alike); a matching pair is the more alike of two in {above:.1f} % of draws"
    label = f"Histograms of the similarity of matching and other pairs, percent in each bin; {note}."
    return _chart("Overlap", note, svg, [*lines, shared], label)


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


def _curve(title: str, note: str, history: History, lines: list[Line]) -> dict[str, Any] | None:
    lines = _measured(lines)
    if not lines:
        return None
    stages = [str(epoch.get("stage", "")) for epoch in history]
    starts = [at for at in range(len(stages)) if at == 0 or stages[at] != stages[at - 1]]
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        for line in lines:
            places = [at for at, value in enumerate(line.values) if math.isfinite(value)]
            values = [line.values[at] for at in places]
            marker = "o" if len(places) <= 30 else None
            axes.plot([at + 1 for at in places], values, color=line.colour, linestyle=line.style, marker=marker)
        for start in starts if len(starts) > 1 else []:
            if start:
                axes.axvline(start + 0.5, color=FAINT, linewidth=1, linestyle=(0, (1, 2)))
            if len(starts) <= 6:
                shown = stages[start] if len(stages[start]) <= 12 else f"{stages[start][:11]}…"
                axes.text(start / len(stages) + 0.01, 1.03, f"stage {shown}", transform=axes.transAxes)
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if min(np.nanmin(line.values) for line in lines) < 0 else 0)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        svg = _svg(figure, title)
    ends = "; ".join(_from_to(line) for line in lines)
    return _chart(title, note, svg, lines, f"{title} by epoch. {ends}.")


def _from_to(line: Line) -> str:
    known = [value for value in line.values if math.isfinite(value)]
    return f"{line.name}: from {known[0]:.3g} to {known[-1]:.3g}"


def _chart(title: str, note: str, svg: Markup, lines: list[Line], label: str) -> dict[str, Any]:
    legend = [{"name": line.name, "colour": COLOURS[line.colour], "dash": DASHES[line.style]} for line in lines]
    return {"title": title, "note": note, "svg": svg, "label": label, "legend": legend}


def _axes() -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.0, 2.45), facecolor="none", layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def _svg(figure: Figure, name: str) -> Markup:
    """SVG without prologue, metadata and name spaces, which a page does not need; ids begin with the chart's name."""
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
    for mark, colour in COLOURS.items():
        text = text.replace(mark, colour)
    return Markup(text)  # labels are drawn by matplotlib, which escapes them
