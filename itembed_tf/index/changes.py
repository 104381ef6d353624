"""What has changed in the sources of an index since they were indexed, by place and stamp; nothing is read for it.

Temporary tables remember which items were found, so that those that are gone are known when all sources were listed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from itembed_tf.index.items import CHUNK
from itembed_tf.index.sources import Entry

# new: no item at this place; changed: the file has another stamp; described: other captions, fields or source;
# left out: unreadable or deleted, and the same since; other: a source that describes it better has it
State = Literal["new", "changed", "described", "unchanged", "left out", "other"]
HANDFUL, SHARE = 5, 0.1  # items of a source, and their share, that are removed without being asked for
_SELECT = "SELECT place, id, source, stamp, name, folder, captions, fields FROM items WHERE place IN ({})"


@dataclass(frozen=True)
class Change:
    """An entry, its state, and the item at its place if there is one."""

    entry: Entry
    state: State
    item: int | None = None


class Changes:
    """Compares entries of sources with an index.

    Args:
        connection: that writes.
        describing: source id -> whether the source has captions and fields, of all sources of the index.
        compared: ids of the sources that are compared.
        retry: whether files that were left out before are tried again.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        describing: Mapping[int, bool],
        compared: Sequence[int],
        *,
        retry: bool = False,
    ) -> None:
        self._connection = connection
        self._compared = compared
        self._describing = describing
        self._retry = retry
        connection.execute("DROP TABLE IF EXISTS temp.seen")
        connection.execute(
            "CREATE TEMP TABLE seen (item INTEGER, source INTEGER, PRIMARY KEY (item, source)) WITHOUT ROWID"
        )

        connection.execute("DROP TABLE IF EXISTS temp.left_out")
        connection.execute("CREATE TEMP TABLE left_out (place TEXT PRIMARY KEY) WITHOUT ROWID")

    def compare(self, entries: Iterable[Entry], source: int) -> Iterator[Change]:
        """The state of each entry; the items at their places count as found. Missing files have none."""
        present = (entry for entry in entries if entry.stamp)
        while chunk := list(islice(present, CHUNK)):
            yield from self._compare(chunk, source)

    def found(self, item: int, source: int) -> None:
        """Count an item as found: the one that an entry has become, by a move or as a new one."""
        self._connection.execute("INSERT OR IGNORE INTO temp.seen VALUES (?, ?)", (item, source))

    def leave_out(self, places: Iterable[str]) -> None:
        """Remember places that the sources have, and that are not read."""
        self._connection.executemany("INSERT OR IGNORE INTO temp.left_out VALUES (?)", ((place,) for place in places))

    def moved_from(self, entry: Entry, content: str) -> int | None:
        """The item of this content whose place is gone from the sources, or None; of several, one of the same name."""
        marks = ",".join("?" * len(self._compared))
        # "+" keeps SQLite from the index over the source, by which it goes through all items.
        row = self._connection.execute(
            f"SELECT id FROM items WHERE content = ? AND kind = ? AND +source IN ({marks}) "
            "AND id NOT IN (SELECT item FROM temp.seen) ORDER BY name <> ?, id LIMIT 1",
            (content, entry.kind, *self._compared, entry.name),
        ).fetchone()
        return int(row[0]) if row else None

    def gone(self, source: int, unlisted: Sequence[str] = ()) -> list[int]:
        """Items of a source that were not found, except those in folders and shards that could not be listed."""
        rows = self._connection.execute(
            "SELECT id, place FROM items WHERE source = ? AND id NOT IN (SELECT item FROM temp.seen)", (source,)
        )
        kept = tuple(f"{place.rstrip('/')}{mark}" for place in unlisted for mark in "/#")
        return [id for id, place in rows if not (kept and place.startswith(kept))]

    def _compare(self, entries: Sequence[Entry], source: int) -> Iterator[Change]:
        places = [entry.place for entry in entries]
        marks = ",".join("?" * len(places))
        items = {row[0]: row[1:] for row in self._connection.execute(_SELECT.format(marks), places)}
        query = f"SELECT place, stamp FROM unreadable WHERE place IN ({marks})"
        left_out = {} if self._retry else dict(self._connection.execute(query, places))
        changes = [_change(self, entry, source, items.get(entry.place), left_out) for entry in entries]
        found = [(change.item, source) for change in changes if change.item is not None]
        self._connection.executemany("INSERT OR IGNORE INTO temp.seen VALUES (?, ?)", found)
        self.leave_out(change.entry.place for change in changes if change.state == "left out")
        yield from changes

    def is_of_another(self, item: int, owner: int, source: int) -> bool:
        """Whether an item stays with another source, which has it still, and describes it as well or better."""
        if owner == source:
            return False
        query = "SELECT 1 FROM temp.seen WHERE item = ? AND source = ?"
        has_it = owner not in self._compared or self._connection.execute(query, (item, owner)).fetchone() is not None
        return has_it and (self._describing.get(owner, False) or not self._describing.get(source, False))


def _change(
    changes: Changes, entry: Entry, source: int, row: Sequence[object] | None, left_out: Mapping[str, str]
) -> Change:
    if row is None:
        return Change(entry, "left out" if left_out.get(entry.place) == entry.stamp else "new")
    id, owner, stamp, name, folder, captions, fields = row
    item = int(str(id))
    if changes.is_of_another(item, int(str(owner)), source):
        return Change(entry, "other", item)
    if stamp != entry.stamp:
        return Change(entry, "left out" if left_out.get(entry.place) == entry.stamp else "changed", item)
    same = (owner, name, folder) == (source, entry.name, entry.folder)
    same = same and json.loads(str(captions)) == list(entry.captions) and json.loads(str(fields)) == entry.fields
    return Change(entry, "unchanged" if same else "described", item)
