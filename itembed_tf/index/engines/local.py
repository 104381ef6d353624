"""The engine of one machine: rows in memory and in derived segments, each scanned or searched by FAISS."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import current_revision, reading, snapshot
from itembed_tf.index.engines.interface import Found
from itembed_tf.index.engines.parts import Part, added, item_filter
from itembed_tf.index.engines.scan import check_queries, ranked, scan
from itembed_tf.index.generations import current_generation
from itembed_tf.index.records import Generation
from itembed_tf.index.removals import gone
from itembed_tf.index.rows import last_row, read_rows


@dataclass(frozen=True)
class LocalView:
    """One state of an index; see `View`.

    Attributes:
        seen: the highest row number of any generation that was looked at.
        sealed: parts of derived segments.
        recent: parts in memory, whose rows are newer.
    """

    generation: int
    dimensions: int
    revision: int
    seen: int = 0
    sealed: tuple[Part, ...] = ()
    recent: tuple[Part, ...] = ()

    @property
    def count(self) -> int:
        return sum(part.alive for part in (*self.sealed, *self.recent))

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None) -> Found:
        queries = check_queries(queries, k, self.dimensions)
        parts = (*self.sealed, *self.recent)
        return ranked(parts, scan(parts, queries, k, item_filter(allowed)), queries, k)


class LocalEngine:
    """See `Engine`. Several threads may use it at once."""

    name = "exact"
    note = ""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._connection = reading(folder)
        self._lock = threading.Lock()
        self._view = LocalView(0, 0, -1)

    def refresh(self, connection: sqlite3.Connection | None = None) -> LocalView:
        with self._lock:
            if connection is not None:
                self._view = _latest(self._view, connection)
            else:
                with snapshot(self._connection):
                    self._view = _latest(self._view, self._connection)
            return self._view

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None) -> Found:
        return self._view.search(queries, k, allowed)

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _latest(view: LocalView, connection: sqlite3.Connection) -> LocalView:
    revision = current_revision(connection)
    if revision <= view.revision:  # below it for a snapshot of the caller that began before another thread's
        return view
    generation = current_generation(connection)
    if generation is None:
        return LocalView(0, 0, revision)
    if generation.number != view.generation:
        view = LocalView(generation.number, generation.dimensions, 0)
    return _caught_up(view, connection, generation, revision)


def _caught_up(view: LocalView, connection: sqlite3.Connection, generation: Generation, revision: int) -> LocalView:
    def left(part: Part) -> Part:
        return part.without(gone(connection, generation.number, part.rows.rows, view.revision))

    recent = [left(part) for part in view.recent]
    last = last_row(connection)
    new = read_rows(connection, generation.number, generation.dimensions, view.seen, last)
    if len(new):
        recent = added(recent, new)
    return LocalView(
        generation.number,
        generation.dimensions,
        revision,
        max(view.seen, last),
        tuple(left(part) for part in view.sealed),
        tuple(recent),
    )
