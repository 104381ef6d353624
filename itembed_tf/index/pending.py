"""What an update has read and encoded, and has not committed yet.

A commit waits for the disk, which takes up to 0.2 s on a busy one, so there is one only every few seconds.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from itembed_tf.index.database import transaction
from itembed_tf.index.entry_reading import ReadEntry
from itembed_tf.index.items import move_items, put_items
from itembed_tf.index.records import Generation, NewItem
from itembed_tf.index.vectors import Vector

COMMIT_SECONDS = 5.0  # what a killed process loses at most
COMMIT_ITEMS = 2000


@dataclass
class Pending:
    """Changes of one source.

    Attributes:
        connection: that writes.
        generation: of the vectors.
        source: id of the source.
        found: called with the id of each item that is stored.
        put, moves: items to store with a vector, and to move, with their ids.
        unreadable: to be remembered.
        vectors: of `put`, by content.
    """

    connection: sqlite3.Connection
    generation: Generation
    source: int
    found: Callable[[int], None]
    put: list[NewItem] = field(default_factory=list)
    moves: list[tuple[int, NewItem]] = field(default_factory=list)
    unreadable: list[ReadEntry] = field(default_factory=list)
    vectors: dict[str, Vector] = field(default_factory=dict)
    committed: float = field(default_factory=time.monotonic)

    def commit_if_due(self) -> None:
        size = len(self.put) + len(self.moves) + len(self.unreadable)
        if size >= COMMIT_ITEMS or time.monotonic() - self.committed >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Store all of it."""
        if self.moves:
            move_items(self.connection, self.moves, source=self.source)
        if self.put:
            for id in put_items(
                self.connection,
                self.put,
                source=self.source,
                generation=self.generation.number,
                dimensions=self.generation.dimensions,
            ):
                self.found(id)
        self._remember()
        for stored in (self.put, self.moves, self.unreadable, self.vectors):
            stored.clear()
        self.committed = time.monotonic()

    def _remember(self) -> None:
        """Files that cannot be read are not tried again while they are the same; those that can be, are forgotten."""
        good = [(item.place,) for item in (*self.put, *(item for _, item in self.moves))]
        known = self.connection.execute("SELECT 1 FROM unreadable LIMIT 1").fetchone() is not None
        if self.unreadable or (known and good):
            rows = [(read.entry.place, self.source, read.entry.stamp, read.problem) for read in self.unreadable]
            with transaction(self.connection):
                self.connection.executemany("DELETE FROM unreadable WHERE place = ?", good)
                self.connection.executemany("INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?, ?)", rows)
