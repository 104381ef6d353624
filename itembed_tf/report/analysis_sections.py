"""The analysis as the report shows it: similarity matrices, captions with shaded words, ranked words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from itembed_tf.analysis.records import BeforeAfter, CaptionImportance, SimilarityMatrix, WordMean, WordRanking

TOP = 3  # words listed below a caption, as in the paper's figure 11
LARGEST_CHANGE = -0.005  # of a listed word; a smaller change would print as -0.00
SHADES = 24  # of a matrix cell
LONGEST = 40  # words of a caption, and characters of a word


@dataclass(frozen=True)
class ShadedWord:
    """A word, its change, the strength of its shade from 0 to 1, and its CSS class."""

    word: str
    change: float | None
    shade: float
    kind: str  # "tells": the score falls without the word; "against": it rises; "unknown"


@dataclass(frozen=True)
class ShadedCaption:
    """A caption with its image, shaded words, and the most important words below."""

    image: int
    score: float
    words: Sequence[ShadedWord]
    truncated: bool
    top: Sequence[ShadedWord]


@dataclass(frozen=True)
class RankedWords:
    """A table of ranked words, each with a bar in percent of the largest change."""

    title: str
    rows: Sequence[tuple[WordMean, float]]


@dataclass(frozen=True)
class Matrix:
    """A similarity matrix drawn as SVG: "before" or "after"."""

    name: str
    svg: Markup
    figures: SimilarityMatrix


@dataclass(frozen=True)
class Matrices:
    """The matrices before and after training in one colour scale, whose end is `largest`."""

    matrices: Sequence[Matrix]
    largest: float
    count: int


def shaded_captions(examples: Sequence[CaptionImportance]) -> list[ShadedCaption]:
    """The example captions; the word with the largest change of all captions has shade 1."""
    largest = max((abs(word.change or 0) for each in examples for word in each.words), default=0) or 1
    captions = []
    for example in examples:
        words = [
            ShadedWord(
                word=_short(word.word),
                change=word.change,
                shade=round(abs(word.change or 0) / largest, 2),
                kind="unknown" if word.change is None else "tells" if word.change < 0 else "against",
            )
            for word in example.words
        ]
        important = [word for word in words if word.change is not None and word.change <= LARGEST_CHANGE]
        top = sorted(important, key=lambda word: word.change or 0)[:TOP]
        captions.append(ShadedCaption(example.image, example.score, words[:LONGEST], len(words) > LONGEST, top))
    return captions


def ranked_words(words: WordRanking) -> list[RankedWords]:
    """Tables of the most and the least important words."""
    largest = max((abs(mean.change) for mean in (*words.most, *words.least)), default=0) or 1
    tables = []
    for title, means in (("Most important", words.most), ("Least important or misleading", words.least)):
        rows = [
            (WordMean(_short(mean.word), mean.change, mean.count), 100 * abs(mean.change) / largest) for mean in means
        ]
        tables.append(RankedWords(title, rows))
    return [table for table in tables if table.rows]


def _short(word: str) -> str:
    return word if len(word) <= LONGEST else f"{word[:LONGEST]}…"


def matrices(similarity: BeforeAfter) -> Matrices:
    """The similarity matrices before (if any) and after training."""
    named = [(name, each) for name, each in (("before", similarity.before), ("after", similarity.after)) if each]
    largest = max(float(np.abs(np.asarray(each.scores)).max(initial=0)) for _, each in named) or 1.0
    drawn = [Matrix(name, _cells(np.asarray(each.scores, np.float64) / largest), each) for name, each in named]
    return Matrices(drawn, largest, len(similarity.images))


def _cells(scores: np.ndarray) -> Markup:
    """One square per value in [-1, 1]; one path per shade and sign, so that the SVG has few elements."""
    count = len(scores)
    steps = np.rint(scores * SHADES).astype(int)
    paths = []
    for step in np.unique(steps[steps != 0]).tolist():
        squares = "".join(f"M{x} {y}h1v1h-1z" for y, x in np.argwhere(steps == step).tolist())
        colour = "text" if step > 0 else "image"
        paths.append(f'<path d="{squares}" style="fill:var(--{colour});fill-opacity:{abs(step) / SHADES:.2f}"/>')
    return Markup(f'<svg viewBox="0 0 {count} {count}" aria-hidden="true">{"".join(paths)}</svg>')  # numbers only
