"""What is kept of a lesson."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Lesson:
    """A name, and images of what it names.

    Attributes:
        number: of the lesson in its index; 0 before it is stored.
        name: as the user wrote it.
        images: SHA-256 (hex) of each image file.
        vectors: of the images, float32 [n, D], unit length.
        created: ISO 8601.
        recall_before, recall_after: mean R@1 of both directions on dev, in percent.
        words: of the name that the vocabulary lacked.
        word_rows: their rows of the word table, float32 [len(words), width].
        problem: why the encoders do not have this lesson, a sentence; "" where they have it.
    """

    number: int
    name: str
    images: tuple[str, ...]
    vectors: NDArray[np.float32]
    created: str = ""
    recall_before: float = 0.0
    recall_after: float = 0.0
    words: tuple[str, ...] = ()
    word_rows: NDArray[np.float32] | None = None
    problem: str = ""
