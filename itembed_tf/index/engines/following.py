"""What engines share: one connection to the index, and the view of the latest state that was seen."""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import reading, snapshot
from itembed_tf.index.engines.interface import Found, View

ViewT = TypeVar("ViewT", bound=View)


class FollowingEngine(ABC, Generic[ViewT]):
    """The part of an `Engine` that follows the changes of an index. Several threads may use it at once.

    Args:
        folder: of an index.
        view: of an index of which nothing was seen yet; its revision is -1.

    Raises:
        SearchIndexError: `folder` is not an index.
    """

    def __init__(self, folder: str | Path, view: ViewT) -> None:
        self._folder = Path(folder)
        self._connection = reading(folder)
        self._lock = threading.Lock()  # of the connection and the view
        self._view = view

    def refresh(self, connection: sqlite3.Connection | None = None) -> ViewT:
        """See `Engine.refresh`."""
        with self._lock:
            if connection is not None:
                self._view = self._latest(connection)
            else:
                with snapshot(self._connection):
                    self._view = self._latest(self._connection)
            return self._view

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None) -> Found:
        """See `Engine.search`."""
        return self._view.search(queries, k, allowed)

    def close(self) -> None:
        """Close the connection; a view that was taken before may still be searched."""
        with self._lock:
            self._connection.close()

    @abstractmethod
    def _latest(self, connection: sqlite3.Connection) -> ViewT:
        """The view of the connection's snapshot, or `self._view` where that is as new; the lock is held."""
