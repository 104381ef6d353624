"""What every engine offers.

A row of an index is [vector, -text_bias, -image_bias]: the hubness correction is two more dimensions, so that an engine
for inner products serves it. A query by text is [vector, 1, 0], one by an image [vector, 0, 1], an uncorrected one
[vector, 0, 0].
"""

from __future__ import annotations

import sqlite3
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Found = tuple[NDArray[np.int64], NDArray[np.float32]]


class View(Protocol):
    """One state of an index, which does not change. Several threads may search it at once.

    Attributes:
        generation: number of the generation that is searched; 0 in an index without one.
        dimensions: D of its vectors.
        revision: of the index.
        count: items that can be found.
    """

    @property
    def generation(self) -> int: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def revision(self) -> int: ...

    @property
    def count(self) -> int: ...

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None) -> Found:
        """The k rows with the highest inner product for each query, best first; equal scores by item id.

        Args:
            queries: [n, D + 2].
            allowed: ids of the items that may be found, ascending; None for all.

        Returns:
            (item ids int64 [n, k], scores float32 [n, k]); -1 and -inf where there are fewer than k items.

        Raises:
            ValueError: a shape does not fit, a query is not finite, or k is below 1.
        """
        ...


class Engine(Protocol):
    """An engine, opened on the folder of an index.

    Attributes:
        name: "exact", "faiss" or "milvus".
        note: a sentence for the user about the choice of the engine; "" if there is none.
    """

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str: ...

    def refresh(self, connection: sqlite3.Connection | None = None) -> View:
        """The latest state: new rows are searched and removed rows are gone from now on.

        Args:
            connection: to read the index by, for example within a `snapshot` of the caller, so that the view and what
                the caller reads are one state; the engine's own one by default.
        """
        ...

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None) -> Found:
        """`View.search` of the state that the last `refresh` found."""
        ...

    def close(self) -> None: ...
