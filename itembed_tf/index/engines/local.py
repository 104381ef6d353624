"""The engine of one machine: derived segments, each scanned or searched by FAISS, and newer rows in memory."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.errors import UserError
from itembed_tf.index.database import current_revision
from itembed_tf.index.derived import SEAL_ROWS
from itembed_tf.index.engines.choice import choose_engine
from itembed_tf.index.engines.following import FollowingEngine
from itembed_tf.index.engines.interface import Found
from itembed_tf.index.engines.ivf import read_ivf
from itembed_tf.index.engines.parts import Part, added, item_filter
from itembed_tf.index.engines.scan import Candidates, check_queries, joined_candidates, ranked, scan
from itembed_tf.index.engines.sealing import update_derived
from itembed_tf.index.generations import current_generation
from itembed_tf.index.records import Generation
from itembed_tf.index.removals import gone
from itembed_tf.index.rows import last_row, read_rows
from itembed_tf.index.segments import Segment, folders, segments

LAGGING = 10 * SEAL_ROWS  # rows in memory from which a reader has the derived files written
SCANNED = 20_000  # rows that a filter and removals leave of a segment, up to which they are scanned


@dataclass(frozen=True)
class LocalView:
    """One state of an index; see `View`.

    Attributes:
        seen: the highest row number of any generation that was looked at.
        sealed: parts of derived segments.
        recent: parts in memory, whose rows are newer.
        files: the derived files that were there when the segments were opened.
    """

    generation: int
    dimensions: int
    revision: int
    seen: int = 0
    sealed: tuple[Part, ...] = ()
    recent: tuple[Part, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return sum(part.alive for part in (*self.sealed, *self.recent))

    @property
    def in_memory(self) -> int:
        """Rows that no segment has."""
        return sum(len(part.rows) for part in self.recent)

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None) -> Found:
        queries = check_queries(queries, k, self.dimensions)
        parts, filter = (*self.sealed, *self.recent), item_filter(allowed)
        admitted = [part.admitted(filter) for part in parts]
        left = [len(part.rows) if rows is None else int(rows.sum()) for part, rows in zip(parts, admitted)]
        fast = [n for n, part in enumerate(parts) if part.approximate is not None and left[n] > SCANNED]
        scanned = [n for n in range(len(parts)) if n not in fast]
        found = scan([parts[n] for n in scanned], queries, k, [admitted[n] for n in scanned])
        candidates = [Candidates(found.queries, np.array(scanned, np.int64)[found.parts], found.positions)]
        candidates += [_approximate(parts[n], n, queries, k, admitted[n], left[n]) for n in fast]
        return ranked(parts, joined_candidates(candidates), queries, k)


class LocalEngine(FollowingEngine[LocalView]):
    """See `Engine`. Several threads may use it at once.

    Args:
        folder: of an index.
        exact: compare every item, whatever approximate indexes there are.
    """

    def __init__(self, folder: str | Path, *, exact: bool = False) -> None:
        super().__init__(folder, LocalView(0, 0, -1))
        self._exact = exact
        self._writer: threading.Thread | None = None

    @property
    def name(self) -> str:
        return "faiss" if any(part.approximate is not None for part in self._view.sealed) else "exact"

    @property
    def note(self) -> str:
        view = self._view if self._view.revision >= 0 else self.refresh()
        return "" if self._exact else choose_engine(view.count).note

    def _latest(self, connection: sqlite3.Connection) -> LocalView:
        view = self._seen(connection)
        if view.in_memory >= LAGGING and self._writer is None:
            self._writer = threading.Thread(target=self._write_derived, daemon=True, name="derived")
            self._writer.start()
        return view

    def _seen(self, connection: sqlite3.Connection) -> LocalView:
        view, revision = self._view, current_revision(connection)
        reopen = view.in_memory >= SEAL_ROWS and view.files != self._files(view.generation)
        if revision < view.revision or (revision == view.revision and not reopen):
            return view  # a snapshot of the caller can be older than that of another thread
        generation = current_generation(connection)
        if generation is None:
            return LocalView(0, 0, revision)
        if generation.number != view.generation or reopen:
            view = self._opened(connection, generation, revision)
        return _caught_up(view, connection, generation, revision)

    def _opened(self, connection: sqlite3.Connection, generation: Generation, revision: int) -> LocalView:
        for _ in range(3):
            files = self._files(generation.number)
            found = segments(self._folder, connection, generation, revision)
            if files == self._files(generation.number):
                break  # else a writer has replaced segments meanwhile, and some could not be opened
        sealed = []
        for segment in found:
            removed = gone(connection, generation.number, segment.rows.rows, segment.stamp.revision)
            sealed.append(self._part(segment).without(removed))
        last = found[-1].stamp.last if found else 0
        return LocalView(generation.number, generation.dimensions, revision, last, tuple(sealed), (), files)

    def _part(self, segment: Segment) -> Part:
        settings = segment.stamp.approximate
        if settings is not None and not self._exact:
            with suppress(ImportError, RuntimeError):  # FAISS is not installed here, or cannot read the file
                return Part(segment.rows, None, read_ivf(segment.folder, settings))
        return Part(segment.rows)

    def _files(self, generation: int) -> tuple[str, ...]:
        return tuple(folder.name for folder in folders(self._folder, generation))

    def _write_derived(self) -> None:
        with suppress(UserError, OSError):  # another process does it, or the index is on a disk that is read only
            update_derived(self._folder)
            self._writer = None


def _caught_up(view: LocalView, connection: sqlite3.Connection, generation: Generation, revision: int) -> LocalView:
    """The view with the changes since its revision; `view.sealed` and `view.recent` are of `view.revision`."""

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
        view.files,
    )


def _approximate(
    part: Part, number: int, queries: NDArray[np.float32], k: int, admitted: NDArray[np.bool_] | None, left: int
) -> Candidates:
    assert part.approximate is not None
    positions = part.approximate.search(queries, k, admitted, left)
    query, column = np.nonzero(positions >= 0)
    return Candidates(query, np.full(len(query), number), positions[query, column])
