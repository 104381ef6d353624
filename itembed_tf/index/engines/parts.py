"""Parts of an index that are searched one after the other: derived segments, and rows that are in memory only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.rows import Rows, joined


class Approximate(Protocol):
    """An approximate index over the rows of a part."""

    def search(
        self, queries: NDArray[np.float32], k: int, admitted: NDArray[np.bool_] | None, left: int
    ) -> NDArray[np.int64]:
        """Positions of candidates, int64 [n, m] with m at least k, -1 where there are fewer.

        Args:
            admitted: rows that may be found, bool; None for all.
            left: how many they are.
        """
        ...


@dataclass(frozen=True)
class Part:
    """Rows, and which of them are gone.

    Attributes:
        rows: by ascending number.
        dead: bool [n], the removed ones; None if there is none.
        approximate: searches them faster; None where they are scanned.
    """

    rows: Rows
    dead: NDArray[np.bool_] | None = None
    approximate: Approximate | None = None

    @property
    def alive(self) -> int:
        return len(self.rows) - (0 if self.dead is None else int(self.dead.sum()))

    def without(self, positions: NDArray[np.int64]) -> Part:
        """The part with these rows removed."""
        if not len(positions):
            return self
        dead = np.zeros(len(self.rows), np.bool_) if self.dead is None else self.dead.copy()
        dead[positions] = True
        return replace(self, dead=dead)

    def admitted(self, filter: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Rows that may be found, bool [n]; None for all. `filter` is a bool by item id."""
        alive = None if self.dead is None else ~self.dead
        if filter is None:
            return alive
        items = self.rows.items
        found = filter[np.minimum(items, len(filter) - 1)]
        return found if alive is None else found & alive


def item_filter(allowed: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
    """A bool by item id, whose last value, False, stands for all higher ids; None for no filter."""
    if allowed is None:
        return None
    filter = np.zeros(int(allowed.max(initial=0)) + 2, np.bool_)
    filter[allowed] = True
    return filter


def added(parts: list[Part], new: Rows) -> list[Part]:
    """Parts in memory with new rows after them.

    A part joins the one before it when that is not twice as large, so that rows are copied, and parts are searched,
    a number of times that grows with the logarithm of the rows only.
    """
    parts = [*parts, Part(new)]
    while len(parts) > 1 and len(parts[-2].rows) < 2 * len(parts[-1].rows):
        last, before = parts.pop(), parts.pop()
        parts.append(_joined(before, last))
    return parts


def _joined(first: Part, second: Part) -> Part:
    alive = [part.rows if part.dead is None else _kept(part.rows, ~part.dead) for part in (first, second)]
    return Part(joined(alive))


def _kept(rows: Rows, keep: NDArray[np.bool_]) -> Rows:
    return Rows(rows.rows[keep], rows.items[keep], rows.vectors[keep], rows.biases[keep])
