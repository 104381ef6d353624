"""The upgrade of an index from start to end: re-encode, or search through a bridge first and re-encode then."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from itembed_tf.config import Config
from itembed_tf.index.bridge import FEWEST, Bridge, fit_bridge
from itembed_tf.index.build import derive, stored_sources
from itembed_tf.index.database import writing
from itembed_tf.index.encoders import find_exports, pack_encoders, store_image_encoder
from itembed_tf.index.entry_reading import ReadEntry, read_ahead, read_content
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, current_generation
from itembed_tf.index.lesson_replay import mapped_images, replay_lessons
from itembed_tf.index.re_encoding import (
    Pending,
    count_pending,
    map_the_rest,
    paired_vectors,
    pending,
    pending_of,
    put_encoded,
    sample_images,
)
from itembed_tf.index.records import Generation, Kind
from itembed_tf.index.shown import most_shown
from itembed_tf.index.sources import Entry, Listing, list_source
from itembed_tf.index.teaching_data import store_data
from itembed_tf.index.text_pairs import text_pairs
from itembed_tf.index.upgrade import check_whole, count_items, start_upgrade, switch
from itembed_tf.index.vectors import EmbedImages, Vector, Vectors
from itembed_tf.retrieval import parse_calibration

LEAST_RECALL = 0.6  # of a bridge, else it is refused; on Flickr8k 0.64 kept 85 % of rsum, 0.88 kept all of it
SHOWN_FIRST = 20_000  # items that were shown most, which are encoded before all others once a bridge is searched
QUERIES = 2000  # training captions by which a bridge is judged


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade has done.

    Attributes:
        generation: that is searched now.
        encoded: items that this call has given a vector of their own.
        mapped: items that are still searched through a mapped vector.
        unreadable: reason by place of each item that could not be encoded.
        bridge: that was learned and is searched through; None without.
    """

    generation: Generation
    encoded: int
    mapped: int
    unreadable: dict[str, str]
    bridge: Bridge | None = None


def upgrade_index(
    index: str | Path,
    encoders: str | Path,
    *,
    bridge_items: int = 0,
    least_recall: float = LEAST_RECALL,
    max_pixels: int = Config.max_pixels,
    report: Callable[[str], None] = print,
    embed_images: EmbedImages | None = None,
    stored: StoredEncoders | None = None,
) -> Upgraded:
    """Change an index to other encoders; call it again to continue one that was killed.

    The index is switched in one transaction, when every item has a vector of the new encoders. With a bridge that is
    early, and items that cannot be encoded keep their mapped vector; without, they stop the switch.

    Args:
        index: folder of the index.
        encoders: run directory or folder of exports.
        bridge_items: images to encode first, on which a bridge is learned; 0 for no bridge.
        least_recall: a bridge with a lower recall@10 on images left out is refused, and all is encoded first.
        max_pixels: larger images, by their header, count as unreadable.
        report: called with a line at each step.
        embed_images, stored: in place of the image encoder, and of what the index keeps of the encoders; for tests.

    Raises:
        SearchIndexError: another upgrade is unfinished, or items cannot be encoded and have no mapped vector.
        Locked: another process writes to the index.
    """
    index = Path(index)
    if stored is None:
        exports = find_exports(encoders)
        stored = pack_encoders(exports)
        store_image_encoder(exports, index)
        store_data(exports, index)
    with writing(index) as connection:
        old, new = current_generation(connection), start_upgrade(connection, stored)
        vectors = Vectors(index, connection, new, embed_images=embed_images, max_pixels=max_pixels)
        work = _Upgrade(connection, new, vectors, report)
        bridge = None
        if not count_pending(connection, new.number) and new.state == "current":
            report(f"the index has vectors of the encoders {new.contract[:16]} already")
        elif new.state == "building" and bridge_items and old is not None:
            bridge = _bridge(work, old, stored, bridge_items, least_recall)
        if bridge is not None or new.state == "current":
            shown = most_shown(index, SHOWN_FIRST)
            work.encode("encoding what was shown most", only=pending_of(connection, new.number, shown))
        work.encode("encoding")
        if bridge is None and new.state == "building":
            work.switch()
        mapped = count_items(connection, new.number).mapped
        searched = current_generation(connection) or new
    derive(index)
    return Upgraded(searched, work.encoded, mapped, work.unreadable, bridge)


@dataclass
class _Upgrade:
    """An upgrade in progress: what it writes to, and what it has done."""

    connection: sqlite3.Connection
    generation: Generation
    vectors: Vectors
    report: Callable[[str], None]
    encoded: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    _listed: list[Listing] | None = None

    def encode(self, title: str, *, kind: Kind | None = None, only: Sequence[int] | None = None) -> None:
        """Encode items without a vector of their own; each batch is committed at once.

        Args:
            title: of the progress bar.
            kind: of the items; None for both.
            only: their ids, in the order in which they are encoded; None for all, in the order of the sources.
        """
        total = count_pending(self.connection, self.generation.number, kind) if only is None else len(only)
        waiting: dict[str, Pending] = {}

        def found() -> Iterator[Pending]:
            for listing in self._listings() if total else ():
                yield from pending(self.connection, self.generation.number, listing.entries, kind)

        def ordered() -> Iterable[Pending]:
            if only is None:
                return found()
            places = {item: place for place, item in enumerate(only)}
            return sorted((each for each in found() if each.item in places), key=lambda each: places[each.item])

        def entries() -> Iterator[Entry]:
            for each in ordered():
                if each.entry.place not in waiting and each.entry.place not in self.unreadable:
                    waiting[each.entry.place] = each
                    yield each.entry

        with tqdm(total=total, desc=title, unit=" items", disable=not total, smoothing=0.05) as bar:
            for batch in read_ahead(entries(), read_content):
                self._write([(read, waiting[read.entry.place]) for read in batch])
                for read in batch:
                    del waiting[read.entry.place]
                bar.update(len(batch))

    def _listings(self) -> list[Listing]:
        if self._listed is None:
            self._listed = []
            for source in stored_sources(self.connection):
                try:
                    self._listed.append(list_source(source))
                except (ValueError, RuntimeError, OSError) as error:  # its items are named when they are missed
                    self.report(f"warning: {source.location}: {error}")
        return self._listed

    def _write(self, batch: Sequence[tuple[ReadEntry, Pending]]) -> None:
        good: list[tuple[ReadEntry, Pending]] = []
        for read, item in batch:
            if read.problem:
                self.unreadable[read.entry.place] = read.problem
            elif read.content != item.content:
                self.unreadable[read.entry.place] = (
                    "another image than the one that was indexed; run `itembed index INDEX` first"
                )
            else:
                good.append((read, item))
        found = self.vectors.known([read.content for read, _ in good])
        missing = list({read.content: read for read, _ in good if read.content not in found}.values())
        results: dict[str, Vector | str] = {**found}
        results |= zip((read.content for read in missing), self.vectors.new(missing) if missing else ())
        encoded: dict[int, Vector] = {}
        for read, item in good:
            vector = results[read.content]
            if isinstance(vector, str):
                self.unreadable[read.entry.place] = vector
            else:
                encoded[item.item] = vector
        put_encoded(self.connection, self.generation, encoded)
        self.encoded += len(encoded)

    def switch(self) -> None:
        """Search the generation from now on; items that have no vector are named with what is wrong with them."""
        try:
            check_whole(self.connection, self.generation)
            self._carry_lessons()
            switch(self.connection, self.generation)
        except SearchIndexError as error:
            reasons = "".join(f"\n  {place} is {reason}" for place, reason in list(self.unreadable.items())[:10])
            raise SearchIndexError(f"{error}{reasons}") from None
        self.report(f"the index is searched by the encoders {self.generation.contract[:16]} now")

    def _carry_lessons(self) -> None:
        """Teach the new encoders the names that those were taught that are searched until now."""
        old = current_generation(self.connection)
        assert old is not None
        self.encode("encoding images of lessons", only=mapped_images(self.connection, old, self.generation))
        self.generation = replay_lessons(self.connection, old, self.generation, self.vectors, self.report)
        self.vectors = self.vectors.of(self.generation)


def _bridge(
    work: _Upgrade, old: Generation, encoders: StoredEncoders, count: int, least_recall: float
) -> Bridge | None:
    """Encode some images, learn the bridge, and search through it if its recall is high enough; else None."""
    connection, new = work.connection, work.generation
    work.encode("encoding sentences", kind="text")
    work.encode("encoding images for the bridge", only=sample_images(connection, new.number, count))
    before, after = paired_vectors(connection, old, new, count)
    if len(before) < FEWEST:
        work.report(f"no bridge: {len(before)} images were encoded by both, and {FEWEST} are needed")
        return None
    queries = np.zeros((0, new.dimensions), np.float32)
    if encoders.calibration:
        bank = parse_calibration(encoders.calibration, encoders.contract).captions
        queries = bank.vectors[:QUERIES].astype(np.float32)
    bridge = fit_bridge(before, after, queries, texts=text_pairs(connection, old, new))
    found = f"{100 * bridge.recall:.0f} % of the ten nearest images are the same as when all is encoded"
    work.report(f"bridge ({bridge.kind}, {bridge.learned:,} images): {found}, by {bridge.held_out:,} left out of it")
    if bridge.recall < least_recall:
        work.report(f"refused: less than {100 * least_recall:.0f} %; all is encoded before the index is switched")
        return None
    mapped = map_the_rest(connection, old, new, bridge, work.vectors)
    work.switch()
    work.report(f"{mapped:,} images are searched through the bridge until they are encoded")
    return bridge
