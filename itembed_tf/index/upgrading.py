"""The upgrade of an index from start to end: re-encode, or search through a bridge first and re-encode then."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from itembed_tf.index.bridge import FEWEST, Bridge, fit_bridge
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, current_generation
from itembed_tf.index.re_encoding import (
    items_to_encode,
    map_the_rest,
    paired_vectors,
    put_encoded,
    sample_to_encode,
)
from itembed_tf.index.records import Generation, Item
from itembed_tf.index.upgrade import count_items, start_upgrade, switch
from itembed_tf.retrieval import Calibration, parse_calibration

BATCH = 32
THREADS = 4
LEAST_RECALL = 0.3  # of a bridge, else it is refused

# Contents of image files -> a vector float32 [D] for each, or what is wrong with it, as a phrase after "is".
EmbedImages = Callable[[Sequence[bytes]], "Sequence[NDArray[np.float32] | str]"]
EmbedTexts = Callable[[Sequence[str]], NDArray[np.float32]]  # float32 [n, D]
ReadImage = Callable[[Item], bytes]


@dataclass(frozen=True)
class Encode:
    """The new encoders, and where the images of items are read: `read` raises OSError for one that is not there."""

    images: EmbedImages
    texts: EmbedTexts
    read: ReadImage


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade has done.

    Attributes:
        generation: that is searched now.
        encoded: items that this call has encoded.
        mapped: items that are still searched through a mapped vector.
        unreadable: place and reason of each item that could not be encoded.
        bridge: that was learned; None without.
    """

    generation: Generation
    encoded: int = 0
    mapped: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    bridge: Bridge | None = None


@dataclass
class _Upgrade:
    """An upgrade in progress: what it writes to, and what it has seen."""

    connection: sqlite3.Connection
    generation: Generation
    calibration: Calibration | None
    encode: Encode
    encoded: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def write(self, batches: Iterable[list[Item]], total: int | None, title: str) -> None:
        """Encode items; each batch is committed at once."""
        with tqdm(total=total, desc=title, unit=" items") as bar:
            for items, contents in _read_ahead(batches, self.encode.read):
                self._write_batch(items, contents)
                bar.update(len(items))

    def _write_batch(self, items: Sequence[Item], contents: Sequence[bytes | str]) -> None:
        vectors: dict[int, NDArray[np.float32] | str] = {
            i: content for i, content in enumerate(contents) if isinstance(content, str) and items[i].kind == "image"
        }
        images = [i for i, content in enumerate(contents) if isinstance(content, bytes)]
        texts = [i for i, item in enumerate(items) if item.kind == "text"]
        if images:
            vectors |= dict(zip(images, self.encode.images([bytes(contents[i]) for i in images])))  # type: ignore[arg-type]
        if texts:
            vectors |= dict(zip(texts, self.encode.texts([items[i].captions[0] for i in texts])))
        good = [i for i in range(len(items)) if not isinstance(vectors[i], str)]
        self.unreadable += [(items[i].place, str(vectors[i])) for i in vectors if isinstance(vectors[i], str)]
        if good:
            rows = np.stack([np.asarray(vectors[i], np.float32) for i in good])
            put_encoded(self.connection, self.generation, [items[i] for i in good], rows, self.calibration)
        self.encoded += len(good)


def upgrade_index(
    connection: sqlite3.Connection,
    encoders: StoredEncoders,
    encode: Encode,
    *,
    bridge_items: int = 0,
    least_recall: float = LEAST_RECALL,
    report: Callable[[str], None] = print,
) -> Upgraded:
    """Change an index to other encoders; call it again to continue one that was killed.

    The generation is switched when all items have a vector. With a bridge that is early: items that could not be
    encoded keep their mapped vector. Without, items that cannot be encoded stop the switch.

    Args:
        connection: that writes.
        encoders: the new ones.
        encode: their functions.
        bridge_items: images to encode first, on which a bridge is learned; 0 for no bridge.
        least_recall: a bridge with a lower recall@10 on images left out is refused, and all is encoded first.
        report: called with a line at each step.

    Raises:
        SearchIndexError: another upgrade is unfinished, or items cannot be encoded and have no mapped vector.
    """
    old, new = current_generation(connection), start_upgrade(connection, encoders)
    calibration = parse_calibration(encoders.calibration, encoders.contract) if encoders.calibration else None
    work = _Upgrade(connection, new, calibration, encode)
    counts = count_items(connection, new.number)
    if new.state == "current" and not counts.mapped and not counts.missing:
        report(f"the index has vectors of the encoders {new.contract[:16]} already")
        return Upgraded(new)
    bridge = None
    if new.state == "building" and bridge_items and old is not None:
        bridge = _bridge(work, old, bridge_items, least_recall, report)
    counts = count_items(connection, new.number)
    work.write(items_to_encode(connection, new.number, BATCH), counts.mapped + counts.missing, "encoding")
    if bridge is None and new.state == "building":
        _switch(work, report)
    current = current_generation(connection)
    assert current is not None
    mapped = count_items(connection, new.number).mapped
    return Upgraded(current, work.encoded, mapped, tuple(dict.fromkeys(work.unreadable)), bridge)


def _bridge(
    work: _Upgrade, old: Generation, count: int, least_recall: float, report: Callable[[str], None]
) -> Bridge | None:
    """Encode some images, learn the bridge, and search through it if its recall is high enough; else None."""
    connection, new = work.connection, work.generation
    work.write(items_to_encode(connection, new.number, BATCH, "text"), None, "encoding sentences")
    sample = sample_to_encode(connection, new.number, count)
    batches = [sample[i : i + BATCH] for i in range(0, len(sample), BATCH)]
    work.write(batches, len(sample), "encoding images for the bridge")
    before, after = paired_vectors(connection, old, new, count)
    if len(before) < FEWEST:
        report(f"no bridge: {len(before)} images were encoded by both, and {FEWEST} are needed")
        return None
    queries = work.calibration.captions.vectors if work.calibration else np.zeros((0, new.dimensions))
    bridge = fit_bridge(before, after, np.asarray(queries, np.float32)[:2000])
    found = f"{100 * bridge.recall:.0f} % of the ten nearest images are the same as when all is encoded"
    report(f"bridge ({bridge.kind}, learned on {bridge.learned:,} images): {found}, on {bridge.held_out:,} left out")
    if bridge.recall < least_recall:
        report(f"refused: less than {100 * least_recall:.0f} %; all images are encoded before the index is switched")
        return None
    mapped = map_the_rest(connection, old, new, bridge, work.calibration)
    _switch(work, report)
    report(f"{mapped:,} images are searched through the bridge until they are encoded")
    return bridge


def _switch(work: _Upgrade, report: Callable[[str], None]) -> None:
    try:
        switch(work.connection, work.generation)
    except SearchIndexError as error:
        reasons = "".join(f"\n  {place} is {reason}" for place, reason in work.unreadable[:10])
        raise SearchIndexError(f"{error}{reasons}") from None
    report(f"the index is searched by the encoders {work.generation.contract[:16]} now")


def _read_ahead(batches: Iterable[list[Item]], read: ReadImage) -> Iterator[tuple[list[Item], list[bytes | str]]]:
    """Items with the contents of their images, or what is wrong; the next batch is read meanwhile."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = None
        for items in batches:
            following = items, [pool.submit(_content, item, read) for item in items]
            if waiting:
                yield waiting[0], [future.result() for future in waiting[1]]
            waiting = following
        if waiting:
            yield waiting[0], [future.result() for future in waiting[1]]


def _content(item: Item, read: ReadImage) -> bytes | str:
    if item.kind == "text":
        return ""
    try:
        content = read(item)
    except FileNotFoundError:
        return "missing: there is no such file"
    except OSError as error:
        return f"not readable: {error.strerror or error}"
    if hashlib.sha256(content).hexdigest() != item.content:
        return "another image than the one that was indexed; run `itembed index INDEX` first"
    return content
