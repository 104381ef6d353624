"""Which rows are gone: the table `removed`, and what a reader does that is older than the table.

`removed` has every removal of a revision above the setting ``removed_since`` (0 where there is none). Compaction
empties the table and sets it; a reader of an earlier revision then compares its row numbers with those that are left.
"""

from __future__ import annotations

import sqlite3

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import current_revision

SETTING = "removed_since"


def removed_since(connection: sqlite3.Connection) -> int:
    """The table `removed` is complete for all revisions above this one."""
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (SETTING,)).fetchone()
    return int(row[0]) if row else 0


def forget_removed(connection: sqlite3.Connection) -> int:
    """Empty the table `removed`, within a transaction of the caller; returns how many rows it had."""
    connection.execute(
        "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (SETTING, str(current_revision(connection))),
    )
    return connection.execute("DELETE FROM removed").rowcount


def gone(connection: sqlite3.Connection, generation: int, rows: NDArray[np.int64], since: int) -> NDArray[np.int64]:
    """Positions in `rows` of the rows that were removed after the revision `since`.

    Args:
        rows: int64 [n], ascending: row numbers of the generation that were there at that revision.
    """
    if not len(rows):
        return np.empty(0, np.int64)
    if since < removed_since(connection):
        query = "SELECT row FROM vectors WHERE generation = ?"
        left = np.fromiter((row for (row,) in connection.execute(query, (generation,))), np.int64)
        return np.flatnonzero(~np.isin(rows, left))
    removed = removed_rows(connection, generation, since)
    places = np.searchsorted(rows, removed)
    places = places[places < len(rows)]
    return np.unique(places[np.isin(rows[places], removed)])


def removed_rows(connection: sqlite3.Connection, generation: int, since: int) -> NDArray[np.int64]:
    """Numbers of the rows that were removed after the revision `since`, which is not before `removed_since`."""
    query = "SELECT row FROM removed WHERE revision > ? AND generation = ?"
    return np.fromiter((row for (row,) in connection.execute(query, (since, generation))), np.int64)
