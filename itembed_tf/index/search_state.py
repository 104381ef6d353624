"""What a searcher keeps of one revision of an index, so that it need not be read for every query."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.facets import count_facets
from itembed_tf.index.fields import Field, user_fields
from itembed_tf.index.filters import matching_items
from itembed_tf.index.hits import newest_contents
from itembed_tf.index.records import Facets

KEPT = 16  # results; one of a million items takes 8 MB
MAX_TERMS = 10_000

T = TypeVar("T")


@dataclass
class SearchState:
    """Results that depend on the revision alone. Several threads may use one, each with its own connection.

    Attributes:
        revision: of the index.
    """

    revision: int
    _counts: dict[str, int] = field(default_factory=dict)
    _kept: OrderedDict[tuple[str, str], object] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def count(self, connection: sqlite3.Connection) -> int:
        """Number of items."""
        return self._once(("count", ""), lambda: int(connection.execute("SELECT count(*) FROM items").fetchone()[0]))

    def columns(self, connection: sqlite3.Connection) -> dict[str, Field]:
        """See `user_fields`."""
        return self._once(("columns", ""), lambda: user_fields(connection))

    def allowed(self, connection: sqlite3.Connection, where: str) -> NDArray[np.int64] | None:
        """Ids of the items that a filter admits, sorted; None for no filter.

        Raises:
            FilterError: see `matching_items`.
        """
        if not where.strip():
            return None
        columns = self.columns(connection)
        return self._once(("where", where), lambda: matching_items(connection, where, columns))

    def newest(self, connection: sqlite3.Connection, where: str) -> NDArray[np.int64]:
        """See `newest_contents`; errors as `allowed`."""
        allowed = self.allowed(connection, where)
        return self._once(("newest", where.strip()), lambda: newest_contents(connection, allowed))

    def term_counts(self) -> dict[str, int]:
        """Numbers of items by term of the full text; `search_texts` fills it."""
        if len(self._counts) > MAX_TERMS:
            self._counts = {}
        return self._counts

    def facets(self, connection: sqlite3.Connection, where: str) -> Facets:
        """See `count_facets`; errors as `allowed`."""
        allowed = self.allowed(connection, where)
        return self._once(("facets", where.strip()), lambda: count_facets(connection, allowed))

    def _once(self, key: tuple[str, str], compute: Callable[[], T]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]  # type: ignore[return-value]
        value = compute()  # two threads may both do this; the result is the same
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return value
