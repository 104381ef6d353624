"""One update of an index from its sources: what is new is read and encoded, what is gone is removed.

Each batch is committed when it is encoded. An update that was killed is continued by another one: what was committed
is found by its stamp and not read again.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock

from tqdm import tqdm

from itembed_tf.index.changes import HANDFUL, SHARE, Change, Changes
from itembed_tf.index.database import transaction
from itembed_tf.index.entry_reading import ReadEntry, read_ahead, read_entry
from itembed_tf.index.items import CHUNK, add_source, delete_items, move_items, put_items, read_items
from itembed_tf.index.records import BuildReport, Generation, NewItem
from itembed_tf.index.sources import Entry, Listing, Source
from itembed_tf.index.vectors import Vector, Vectors

WORK = ("new", "changed", "described")
MISSING = "missing: there is no such file"


class Update:
    """One update of an index from sources; see `itembed_tf.index.build.build_index`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        second: sqlite3.Connection,
        generation: Generation,
        vectors: Vectors,
        max_pixels: int,
    ) -> None:
        self.connection, self.generation, self.vectors = connection, generation, vectors
        self.report = BuildReport()
        lock, query = (
            Lock(),
            "SELECT 1 FROM items JOIN vectors ON item = id WHERE content = ? AND generation = ? LIMIT 1",
        )

        def is_known(content: str) -> bool:  # called in the threads that read; they share a connection
            with lock:
                return second.execute(query, (content, generation.number)).fetchone() is not None

        self.read = partial(read_entry, is_known=is_known, max_pixels=max_pixels)

    def run(self, listed: Sequence[tuple[Source, Listing]], *, prune: bool, retry: bool) -> BuildReport:
        given = {
            add_source(self.connection, source.kind, source.location, json.dumps(dict(source.settings))): (
                source,
                listing,
            )
            for source, listing in listed
        }
        kinds = self.connection.execute("SELECT id, kind FROM sources")
        describing = {int(id): Source(str(kind), "").describes for id, kind in kinds}
        ids = sorted(given, key=lambda id: not describing[id])  # first those that describe what folders have too
        before = {id: self._count("source = ?", id) for id in ids}
        self.changes = Changes(self.connection, describing, ids, retry=retry)
        states = Counter[str]()
        for id in ids:
            self.report.problems += given[id][1].problems
            states.update(change.state for change in self.changes.compare(given[id][1].entries, id))
        self.report.unchanged, self.report.left_out = states["unchanged"], states["left out"]
        total = sum(states[state] for state in WORK)
        with tqdm(total=total, desc="indexing", unit=" items", disable=not total, smoothing=0.05) as bar:
            for id in ids:
                self._update(id, given[id][1], bar)
        for id in ids:
            self._remove_gone(id, *given[id], before[id], prune)
        self.report.items = self._count("1")
        return self.report

    def _update(self, source: int, listing: Listing, bar: tqdm) -> None:
        for entry in listing.entries if isinstance(listing.entries, list) else ():
            if not entry.stamp:
                self.report.unreadable[entry.place] = MISSING
        changes: dict[str, Change] = {}
        described: list[Change] = []

        def entries() -> Iterator[Entry]:
            for change in self.changes.compare(listing.entries, source):
                if change.state == "described":
                    described.append(change)
                    if len(described) == CHUNK:
                        self._describe(described, source, bar)
                elif change.state in WORK:
                    changes[change.entry.place] = change
                    yield change.entry
            self._describe(described, source, bar)

        for batch in read_ahead(entries(), self.read):
            self._write(batch, [changes.pop(read.entry.place) for read in batch], source)
            bar.update(len(batch))

    def _describe(self, changes: list[Change], source: int, bar: tqdm) -> None:
        """Give items the captions, fields, name and folder that their source has now."""
        items = read_items(self.connection, [change.item or 0 for change in changes])
        moves = []
        for change, item in zip(changes, items, strict=True):
            read = ReadEntry(change.entry, item.content, b"", item.width, item.height, item.size, item.date)
            moves.append((item.id, _new_item(read, Vector.none())))
        if moves:
            move_items(self.connection, moves, source=source)
        self.report.described += len(moves)
        bar.update(len(moves))
        changes.clear()

    def _write(self, batch: Sequence[ReadEntry], changes: Sequence[Change], source: int) -> None:
        unreadable = [read for read in batch if read.problem]
        moves, rest = list[tuple[int, NewItem]](), list[ReadEntry]()
        states = {read.entry.place: change.state for read, change in zip(batch, changes)}
        for read, change in zip(batch, changes):
            if not read.problem:
                item = self._item_of(read, change, source)
                if item is None:
                    rest.append(read)
                else:
                    moves.append((item, _new_item(read, Vector.none())))
        if moves:
            move_items(self.connection, moves, source=source)
        found = self._vectors_of(rest, unreadable)
        rest = [read for read in rest if read.content in found]
        items = [_new_item(read, found[read.content]) for read in rest]
        put = put_items(
            self.connection,
            items,
            source=source,
            generation=self.generation.number,
            dimensions=self.generation.dimensions,
        )
        for id, read in zip(put, rest):
            self.changes.found(id, source)
            if states[read.entry.place] == "new":
                self.report.added += 1
            else:
                self.report.changed += 1
        self._remember(unreadable, [item.place for item in items] + [item.place for _, item in moves], source)

    def _item_of(self, read: ReadEntry, change: Change, source: int) -> int | None:
        """The item that has this content already, and only gets another place or stamp; None for all others."""
        if change.state == "new":
            item = self.changes.moved_from(read.entry, read.content)
            if item is not None:
                self.changes.found(item, source)
                self.report.moved += 1
            return item
        query = "SELECT 1 FROM items WHERE id = ? AND content = ?"
        if self.connection.execute(query, (change.item, read.content)).fetchone():
            self.report.unchanged += 1
            return change.item
        return None

    def _vectors_of(self, reads: Sequence[ReadEntry], unreadable: list[ReadEntry]) -> dict[str, Vector]:
        """Vectors by content; what cannot be decoded is added to `unreadable`."""
        found = self.vectors.known([read.content for read in reads])
        first = {read.content: read for read in reversed(reads) if read.content not in found}
        missing = list(first.values())[::-1]
        for i, read in enumerate(missing):
            if read.entry.image is not None and not read.data:  # the index lost this content while it was read
                missing[i] = self.read(read.entry, is_known=lambda content: False)
        for read, vector in zip(missing, self.vectors.new(missing)):
            if isinstance(vector, str):
                unreadable += [replace(each, problem=vector) for each in reads if each.content == read.content]
            else:
                found[read.content] = replace(vector, thumbnail=read.thumbnail)
                self.report.encoded += 1
        return found

    def _remember(self, unreadable: Sequence[ReadEntry], good: Sequence[str], source: int) -> None:
        """Files that cannot be read are not tried again while they are the same."""
        self.report.unreadable.update({read.entry.place: read.problem for read in unreadable})
        lasting = [read for read in unreadable if read.lasting]
        self.changes.leave_out([read.entry.place for read in lasting])
        with transaction(self.connection):
            self.connection.executemany("DELETE FROM unreadable WHERE place = ?", [(place,) for place in good])
            self.connection.executemany(
                "INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?, ?)",
                [(read.entry.place, source, read.entry.stamp, read.problem) for read in lasting],
            )

    def _remove_gone(self, id: int, source: Source, listing: Listing, before: int, prune: bool) -> None:
        gone = self.changes.gone(id, listing.unlisted)
        nothing_left = not len(listing.entries)
        if gone and not prune and (nothing_left or len(gone) > max(HANDFUL, SHARE * before)):
            self.report.kept.append(
                f"{source.location}: {len(gone):,} of {before:,} items are gone, and were kept: is all of it "
                "there, and its disk mounted?"
            )
        elif gone:
            self.report.removed += delete_items(self.connection, gone)
        with transaction(self.connection):
            self.connection.execute(
                "DELETE FROM unreadable WHERE source = ? AND place NOT IN (SELECT place FROM temp.left_out)", (id,)
            )

    def _count(self, condition: str, *values: object) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM items WHERE {condition}", values).fetchone()[0])


def _new_item(read: ReadEntry, vector: Vector) -> NewItem:
    entry = read.entry
    return NewItem(
        place=entry.place,
        kind=entry.kind,
        content=read.content,
        stamp=entry.stamp,
        name=entry.name,
        folder=entry.folder,
        vector=vector.vector,
        captions=entry.captions,
        date=read.date,
        width=read.width,
        height=read.height,
        size=read.size,
        fields=entry.fields,
        thumbnail=vector.thumbnail,
        text_bias=vector.text_bias,
        image_bias=vector.image_bias,
    )
