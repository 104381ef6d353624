"""Facets: how many items each folder, year and kind has."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.hits import WITHIN
from itembed_tf.index.records import Facets

MAX_VALUES = 1_000  # of one facet


def count_facets(connection: sqlite3.Connection, allowed: NDArray[np.int64] | None = None) -> Facets:
    """Count items by folder, year and kind.

    Args:
        allowed: ids of the items to count; None: all.
    """

    def counts(value: str, order: str) -> tuple[tuple[str, int], ...]:
        condition = "" if allowed is None else WITHIN
        query = f"SELECT {value}, count(*) FROM items {condition} GROUP BY 1 HAVING {value} IS NOT NULL"
        values = () if allowed is None else (json.dumps(allowed.tolist()),)
        return tuple(connection.execute(f"{query} ORDER BY {order} LIMIT {MAX_VALUES}", values))

    total = connection.execute("SELECT count(*) FROM items").fetchone()[0] if allowed is None else len(allowed)
    return Facets(
        items=total,
        folders=counts("folder", "2 DESC, 1"),
        years=counts("substr(date, 1, 4)", "1 DESC"),
        kinds=counts("kind", "2 DESC, 1"),
    )
