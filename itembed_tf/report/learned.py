"""What the encoders learned, made ready for the page: similarities as squares, words in shades, words in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

TOP = 3  # words named below a sentence, as in the paper's figure 11
LEAST = -0.005  # to be named: what is shown as -0.00 tells nothing
STEPS = 24  # shades of a square
LONGEST = 40  # words of a sentence, and letters of a word


def shaded(sentences: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sentences with a shade for each word (1: what changes most of all) and their `TOP` most telling words."""
    all_changes = [abs(word["change"] or 0) for sentence in sentences for word in sentence["words"]]
    most = max(all_changes, default=0) or 1
    found = []
    for sentence in sentences:
        words = [
            {
                "word": _short(word["word"]),
                "change": word["change"],
                "shade": round(abs(word["change"] or 0) / most, 2),
                "kind": "unknown" if word["change"] is None else "tells" if word["change"] < 0 else "against",
            }
            for word in sentence["words"]
        ]
        telling = sorted((word for word in words if (word["change"] or 0) <= LEAST), key=lambda word: word["change"])
        shown = {"picture": sentence["picture"], "caption": sentence["caption"], "score": sentence["score"]}
        found.append(shown | {"words": words[:LONGEST], "more": len(words) > LONGEST, "top": telling[:TOP]})
    return found


def in_order(words: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two tables: the words that tell most and least, each word with a bar in percent of the longest of both."""
    most = max((abs(row["change"]) for rows in (words["most"], words["least"]) for row in rows), default=0) or 1
    tables = []
    for name, rows in (("most", words["most"]), ("least", words["least"])):
        bars = [{**row, "word": _short(row["word"]), "bar": 100 * abs(row["change"]) / most} for row in rows]
        tables.append({"name": name, "rows": bars})
    return [table for table in tables if table["rows"]]


def _short(word: str) -> str:
    return word if len(word) <= LONGEST else f"{word[:LONGEST]}…"


def squares(similarity: Mapping[str, Any]) -> dict[str, Any]:
    """The two pictures of similarities, before and after, in one scale: "pairs", "most" (the darkest) and "count"."""
    kinds = [(name, similarity[name]) for name in ("before", "after") if similarity[name]]
    most = max(float(np.abs(np.asarray(kind["scores"])).max(initial=0)) for _, kind in kinds) or 1.0
    pairs = [
        {"name": name, "svg": _squares(np.asarray(kind["scores"], np.float64) / most), **kind} for name, kind in kinds
    ]
    return {"pairs": pairs, "most": most, "count": len(similarity["pictures"])}


def _squares(scores: np.ndarray) -> Markup:
    """One square a number of [-1, 1], a path for each shade and sign: few elements, and the colours are the page's."""
    count = len(scores)
    steps = np.rint(scores * STEPS).astype(int)
    paths = []
    for step in np.unique(steps[steps != 0]).tolist():
        at = "".join(f"M{x} {y}h1v1h-1z" for y, x in np.argwhere(steps == step).tolist())
        colour = "text" if step > 0 else "image"
        paths.append(f'<path d="{at}" style="fill:var(--{colour});fill-opacity:{abs(step) / STEPS:.2f}"/>')
    return Markup(f'<svg viewBox="0 0 {count} {count}" aria-hidden="true">{"".join(paths)}</svg>')  # numbers only
