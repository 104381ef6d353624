"""Read-only connections to an index that several threads share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from itembed_tf.index.database import reading
from itembed_tf.index.errors import SearchIndexError


class Connections:
    """Lends a connection to one thread at a time; it makes as many as are needed at once."""

    def __init__(self, folder: Path) -> None:
        """Connections to the index in `folder`; raises SearchIndexError if there is none."""
        self._folder = folder
        self._lock = Lock()
        self._closed = False
        self._free = [self._open()]

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """A connection for the block.

        Raises:
            SearchIndexError: they are closed.
        """
        with self._lock:
            if self._closed:
                raise SearchIndexError(f"the search of {self._folder} is closed; open it again")
            connection = self._free.pop() if self._free else None
        connection = connection or self._open()
        try:
            yield connection
        finally:
            with self._lock:
                if not self._closed:
                    self._free.append(connection)
            if self._closed:
                connection.close()

    def close(self) -> None:
        """Close all connections; one that is lent is closed when it comes back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = reading(self._folder)
        connection.execute("PRAGMA temp_store = MEMORY")  # for the view of `fields`: no file is made
        return connection
