"""Results of an analysis as records, and their JSON form in analysis.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from itembed_tf.analysis.overlap import Overlap


@dataclass(frozen=True)
class WordChange:
    """A word of a caption, and the change of the score without it; None for a word that the encoder does not read."""

    word: str
    change: float | None


@dataclass(frozen=True)
class CaptionImportance:
    """Word importance of one caption: positions of image and caption in the split, their similarity, every word."""

    image: int
    caption: int
    score: float
    words: tuple[WordChange, ...]


@dataclass(frozen=True)
class WordMean:
    """A word, the mean change of the score without it, and over how many places."""

    word: str
    change: float
    count: int


@dataclass(frozen=True)
class WordRanking:
    """The words with the most negative and the most positive mean change.

    Attributes:
        captions: number of sampled captions.
        minimum_count: places that a word needs to be ranked.
        words: number of ranked words.
        most, least: in order, the most important and the least important (or misleading) word first.
    """

    captions: int
    minimum_count: int
    words: int
    most: tuple[WordMean, ...]
    least: tuple[WordMean, ...]


@dataclass(frozen=True)
class SimilarityMatrix:
    """Similarities of sampled images (rows) with one caption of each (columns).

    Attributes:
        scores: [images][captions].
        mean_matching, mean_other: means on and off the diagonal; None for a single image.
        correct: number of images that are most similar to their own caption.
    """

    scores: list[list[float]]
    mean_matching: float | None
    mean_other: float | None
    correct: int


@dataclass(frozen=True)
class BeforeAfter:
    """The same pairs by an untrained and by the trained model; `before` is None without the backbone's weights.

    Attributes:
        images, captions: positions in the split.
    """

    images: tuple[int, ...]
    captions: tuple[int, ...]
    before: SimilarityMatrix | None
    after: SimilarityMatrix


@dataclass(frozen=True)
class Analysis:
    """What a model has learned, measured on one split (docs/analysis.md)."""

    overlap: Overlap
    words: WordRanking
    examples: tuple[CaptionImportance, ...]
    similarity: BeforeAfter

    def to_json(self) -> dict[str, Any]:
        """The blocks of analysis.json, named as the fields."""
        blocks = {name: asdict(getattr(self, name)) for name in ("words", "similarity")}
        return {"overlap": self.overlap.to_json(), "examples": [asdict(each) for each in self.examples], **blocks}
