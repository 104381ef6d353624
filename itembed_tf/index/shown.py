"""How often each item was shown as a hit: an upgrade re-encodes the most shown ones first.

The counts are in ``shown.sqlite``, beside the database of the index: ids of items and numbers, nothing of the queries.
A search never waits for them. They are gathered in memory, and a thread adds them to the file now and then; a process
that is killed loses the last ones. They are statistics: a damaged file is begun anew, and an index on a disk that is
read only has none.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

FILE = "shown.sqlite"
SWITCH = "ITEMBED_COUNT_SHOWN"  # environment variable; "0" switches counting off
MOST = 100_000  # items in the file; above it all counts are halved, and those that were shown once are forgotten
GATHERED = 10_000  # items in memory
SECONDS = 30.0  # between two additions to the file
WAIT_SECONDS = 0.5  # for another process that adds its counts

_TABLE = "CREATE TABLE IF NOT EXISTS shown (item INTEGER PRIMARY KEY, count INTEGER NOT NULL)"
_ADD = "INSERT INTO shown VALUES (?, ?) ON CONFLICT (item) DO UPDATE SET count = count + excluded.count"


class ShownCounter:
    """Counts the hits that a process shows. Several threads may use one at once.

    Args:
        folder: of an index.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._counts = Counter[int]()
        self._lock = threading.Lock()  # of the counts
        self._writing = threading.Lock()  # of the file, in this process
        self._written = time.monotonic()
        self._on = os.environ.get(SWITCH) != "0" and os.access(folder, os.W_OK)

    def add(self, ids: Iterable[int]) -> None:
        """Count items as shown once more."""
        if not self._on:
            return
        with self._lock:
            self._counts.update(ids)
            if time.monotonic() - self._written < SECONDS and len(self._counts) < GATHERED:
                return
            self._written = time.monotonic()
        threading.Thread(target=self.write, daemon=True, name="shown").start()

    def write(self) -> None:
        """Add what was counted to the file. Where that fails, it is dropped."""
        with self._writing:
            with self._lock:
                counts, self._counts = self._counts, Counter[int]()
            if not counts:
                return
            with suppress(sqlite3.Error, OSError):
                _add(self._file, counts)


def most_shown(folder: Path, limit: int) -> list[int]:
    """Ids of items by how often they were shown, the most shown first; items that are gone may be among them."""
    file = folder / FILE
    if not file.is_file():
        return []
    with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=WAIT_SECONDS)) as connection:
        query = "SELECT item FROM shown ORDER BY count DESC, item LIMIT ?"
        return [row[0] for row in connection.execute(query, (limit,))]
    return []


def _add(file: Path, counts: Counter[int]) -> None:
    try:
        with closing(sqlite3.connect(file, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # nothing waits for the disk; see the module's docstring
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.executemany(_ADD, counts.items())
            while connection.execute("SELECT count(*) FROM shown").fetchone()[0] > MOST:
                connection.execute("UPDATE shown SET count = count / 2")
                connection.execute("DELETE FROM shown WHERE count = 0")
            connection.execute("COMMIT")
    except sqlite3.OperationalError:  # another process is longer at it, or the disk is full
        raise
    except sqlite3.DatabaseError:
        file.unlink(missing_ok=True)
