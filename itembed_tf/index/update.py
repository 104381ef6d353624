"""One update of an index from its sources: what is new is read and encoded, what is gone is removed.

Every few seconds, what was encoded is committed. An update that was killed is continued by another one: what was
committed is found by its stamp and not read again.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TypeAlias

from tqdm import tqdm

from itembed_tf.index.changes import HANDFUL, SHARE, Change, Changes
from itembed_tf.index.database import transaction
from itembed_tf.index.entry_reading import ReadEntry, read_ahead, read_entry
from itembed_tf.index.items import CHUNK, add_source, delete_items, move_items, read_items
from itembed_tf.index.pending import Pending
from itembed_tf.index.records import BuildReport, Generation, NewItem
from itembed_tf.index.sources import Entry, Listing, Source
from itembed_tf.index.vectors import OF_CONTENT, Vector, Vectors

WORK = ("new", "changed", "described")
ReadMany: TypeAlias = Callable[[Iterable[Entry]], Iterator[list[ReadEntry]]]
MISSING = "missing: there is no such file"


class Update:
    """One update of an index from sources; see `itembed_tf.index.build.build_index`.

    `read_many` reads entries, in batches and in order; by default threads of this process do.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        second: sqlite3.Connection,
        generation: Generation,
        vectors: Vectors,
        max_pixels: int,
        read_many: ReadMany | None = None,
    ) -> None:
        self.connection, self.generation, self.vectors = connection, generation, vectors
        self.report = BuildReport()
        query = f"SELECT 1 FROM {OF_CONTENT} WHERE content = ? LIMIT 1"
        lock = Lock()

        def is_known(content: str) -> bool:  # called in the threads that read; they share a connection
            with lock:
                return second.execute(query, (generation.number, content)).fetchone() is not None

        self.read = partial(read_entry, is_known=is_known, max_pixels=max_pixels)
        self.read_many = read_many or partial(read_ahead, read=self.read)

    def run(self, listed: Sequence[tuple[Source, Listing]], *, prune: bool, retry: bool) -> BuildReport:
        given = {
            add_source(self.connection, s.kind, s.location, json.dumps(dict(s.settings))): (s, listing)
            for s, listing in listed
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

        pending = Pending(self.connection, self.generation, source, lambda id: self.changes.found(id, source))
        try:
            for batch in self.read_many(entries()):
                self._take(batch, [changes.pop(read.entry.place) for read in batch], pending)
                pending.commit_if_due()
                bar.update(len(batch))
        finally:  # also what is there when Ctrl-C ends it
            pending.commit()

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

    def _take(self, batch: Sequence[ReadEntry], changes: Sequence[Change], pending: Pending) -> None:
        """Encode what the index lacks, and put all of it into `pending`."""
        unreadable = [read for read in batch if read.problem]
        rest = list[tuple[ReadEntry, Change]]()
        for read, change in zip(batch, changes):
            if not read.problem:
                item = self._item_of(read, change, pending.source)
                if item is None:
                    rest.append((read, change))
                else:
                    pending.moves.append((item, _new_item(read, Vector.none())))
        found = self._vectors_of([read for read, _ in rest], unreadable, pending)
        for read, change in rest:
            if read.content in found:
                pending.put.append(_new_item(read, found[read.content]))
                self.report.added += change.state == "new"
                self.report.changed += change.state == "changed"
        self.report.unreadable.update({read.entry.place: read.problem for read in unreadable})
        lasting = [read for read in unreadable if read.lasting]
        self.changes.leave_out([read.entry.place for read in lasting])
        pending.unreadable += lasting

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

    def _vectors_of(
        self, reads: Sequence[ReadEntry], unreadable: list[ReadEntry], pending: Pending
    ) -> dict[str, Vector]:
        """Vectors by content; what cannot be decoded is added to `unreadable`."""
        found = pending.vectors | self.vectors.known([read.content for read in reads])
        first = {read.content: read for read in reversed(reads) if read.content not in found}
        missing = list(first.values())[::-1]
        for i, read in enumerate(missing):
            if (
                read.entry.image is not None and not read.data and read.embedded is None
            ):  # the index lost this content while it was read
                missing[i] = self.read(read.entry, is_known=lambda content: False)
        for read, vector in zip(missing, self.vectors.new(missing)):
            if isinstance(vector, str):
                unreadable += [replace(each, problem=vector) for each in reads if each.content == read.content]
            else:
                found[read.content] = pending.vectors[read.content] = replace(vector, thumbnail=read.thumbnail)
                self.report.encoded += 1
        return found

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
        gone_again = "FROM unreadable WHERE source = ? AND place NOT IN (SELECT place FROM temp.left_out)"
        if self.connection.execute(f"SELECT 1 {gone_again}", (id,)).fetchone():
            with transaction(self.connection):
                self.connection.execute(f"DELETE {gone_again}", (id,))

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
