"""The vector of a query: of a sentence, an image or an item of the index, with another sentence subtracted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from itembed_tf.text import Vocabulary

Side = Literal["text", "image"]
MINUS_WEIGHT = 0.5  # docs/search.md has the measurement by which it was chosen
_EDGES = re.compile(r"^[^\w]+|[^\w]+$")  # punctuation around a word


@dataclass(frozen=True)
class QueryVector:
    """A query that is encoded already.

    Attributes:
        vector: float32 [D], unit length.
        side: which of an item's two hubness corrections applies: that for text or that for image queries.
    """

    vector: NDArray[np.float32]
    side: Side

    def row(self, corrected: bool) -> NDArray[np.float32]:
        """The vector with the two dimensions of the hubness correction, float32 [1, D + 2]."""
        sides = [corrected and self.side == "text", corrected and self.side == "image"]
        return np.concatenate([self.vector, np.array(sides, np.float32)])[None]


def subtract(vector: NDArray[np.float32], minus: NDArray[np.float32]) -> NDArray[np.float32]:
    """``vector - MINUS_WEIGHT * minus`` at unit length; both float32 [D], unit length."""
    difference = vector - np.float32(MINUS_WEIGHT) * minus  # its length is at least 1 - MINUS_WEIGHT
    return (difference / np.linalg.norm(difference)).astype(np.float32)


def unknown_words(text: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Words of a text that training never saw, as the user wrote them, each once, without punctuation around them."""
    found: dict[str, None] = {}
    for written in text.split():
        words = vocabulary.tokenize(written)
        unknown = [word for word in words if word not in vocabulary.ids]
        if unknown and len(unknown) == len(words):
            found[_EDGES.sub("", written)] = None
        else:
            found.update(dict.fromkeys(unknown))
    return tuple(found)
