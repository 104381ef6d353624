"""Verification of an index: everything that can be checked without its sources."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itembed_tf.index.database import reading, snapshot
from itembed_tf.index.derived import check_segments
from itembed_tf.index.encoders import stored_image_encoder
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import all_generations, current_generation, read_encoders
from itembed_tf.index.teaching_data import load_data, missing_data
from itembed_tf.index.text_encoder import load_text_encoder
from itembed_tf.retrieval.calibration import CalibrationError, parse_calibration
from itembed_tf.teaching import TeachingError

ROUNDING = 0.005  # a unit vector is off by at most this after the rounding to float16
REBUILD = "rebuild the index with `itembed index RUN INPUT --out NEW_INDEX`"
RESTORE = f"restore it from a backup, or {REBUILD}"
ENCODE_AGAIN = "delete them with --delete, and give the same `itembed index` command with --retry again"
LISTED = 5


@dataclass(frozen=True)
class Verification:
    """What an index has, and what is wrong with it: one sentence each, with what to do."""

    items: int
    vectors: int
    contract: str
    problems: tuple[str, ...]


def verify_index(index: str | Path) -> Verification:
    """Check database, vectors, full-text index, thumbnails, encoders, data of lessons, and derived files.

    Raises:
        SearchIndexError: there is no index, or not one that this version reads.
    """
    index = Path(index)
    with closing(reading(index)) as connection, snapshot(connection):
        try:
            return _verify(index, connection)
        except sqlite3.DatabaseError as error:  # a page that another check reads
            return Verification(0, 0, "", (f"the database is damaged ({error}); {RESTORE}",))


def _verify(index: Path, connection: sqlite3.Connection) -> Verification:
    problems = list(_integrity(connection))
    if not problems:  # the other checks read what the first one found to be whole
        checks: tuple[Callable[[sqlite3.Connection], Iterator[str]], ...] = (_vectors, _texts, _contents, _encoders)
        problems = [problem for check in checks for problem in check(connection)]
        problems += [*_image_encoders(index, connection), *_lessons(index, connection)]
        problems += check_segments(index)
    generation = current_generation(connection)
    items, vectors = (
        int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in ("items", "vectors")
    )
    return Verification(items, vectors, generation.contract if generation else "", tuple(problems))


def _integrity(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check(5)"):
        if line != "ok":
            yield f"the database is damaged ({line}); {RESTORE}"
    broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    if broken:
        yield f"{len(broken):,} rows of {broken[0][0]} refer to rows that do not exist; {REBUILD}"


def _vectors(connection: sqlite3.Connection) -> Iterator[str]:
    states = [generation.state for generation in all_generations(connection)]
    if states and states.count("current") != 1:
        yield f"{states.count('current')} generations are current, and one must be; {REBUILD}"
    kinds = dict(connection.execute("SELECT id, kind FROM items WHERE kind = 'text'"))
    for generation in all_generations(connection):
        wrong, lengths = list[int](), 0
        query = "SELECT item, vector FROM vectors WHERE generation = ?"
        for item, blob in connection.execute(query, (generation.number,)):
            if len(blob) != 2 * generation.dimensions:
                lengths += 1
                continue
            norm = float(np.linalg.norm(np.frombuffer(blob, "<f2").astype(np.float32)))
            if not abs(norm - 1) <= ROUNDING and not (norm == 0 and item in kinds):  # NaN is wrong too
                wrong.append(item)
        if lengths:
            yield f"{lengths:,} vectors of generation {generation.number} do not have its dimensions; {REBUILD}"
        if wrong:
            yield f"{len(wrong):,} vectors are not of unit length (items {_first(wrong)}); {ENCODE_AGAIN}"
        if generation.state == "current":
            query = "SELECT id FROM items WHERE id NOT IN (SELECT item FROM vectors WHERE generation = ?)"
            missing = [id for (id,) in connection.execute(query, (generation.number,))]
            if missing:
                yield f"{len(missing):,} items have no vector (items {_first(missing)}); {ENCODE_AGAIN}"
    query = "SELECT count(*) FROM removed WHERE row IN (SELECT row FROM vectors)"
    if count := connection.execute(query).fetchone()[0]:
        yield f"{count:,} vectors count as removed, although they are there; `itembed index INDEX --compact` repairs it"


def _texts(connection: sqlite3.Connection) -> Iterator[str]:
    query = (
        "SELECT items.id, items.captions, items.name, items.folder, texts.captions, texts.name, texts.folder "
        "FROM items LEFT JOIN texts ON texts.rowid = items.id"
    )
    wrong = [
        id
        for id, captions, name, folder, *indexed in connection.execute(query)
        if indexed != ["\n".join(json.loads(captions)), name, folder]
    ]
    extra = connection.execute("SELECT count(*) FROM texts WHERE rowid NOT IN (SELECT id FROM items)").fetchone()[0]
    if wrong or extra:
        yield f"the full-text index does not fit {len(wrong) + extra:,} items (items {_first(wrong)}); {REBUILD}"


def _contents(connection: sqlite3.Connection) -> Iterator[str]:
    query = "SELECT count(*) FROM thumbnails WHERE content NOT IN (SELECT content FROM items)"
    if count := connection.execute(query).fetchone()[0]:
        yield f"{count:,} thumbnails belong to no item; `itembed index INDEX --compact` removes them"
    query = "SELECT count(*) FROM thumbnails WHERE length(image) = 0"
    if count := connection.execute(query).fetchone()[0]:
        yield f"{count:,} thumbnails are empty; {REBUILD}"


def _encoders(connection: sqlite3.Connection) -> Iterator[str]:
    for generation in all_generations(connection):
        stored = read_encoders(connection, generation.contract)
        if stored.dimensions != generation.dimensions:
            yield f"generation {generation.number} does not have the dimensions of its encoders; {REBUILD}"
        try:
            load_text_encoder(stored)
            if stored.calibration is not None:
                parse_calibration(stored.calibration, stored.contract)
        except (SearchIndexError, CalibrationError) as error:
            yield str(error)


def _image_encoders(index: Path, connection: sqlite3.Connection) -> Iterator[str]:
    for generation in all_generations(connection):
        try:
            stored_image_encoder(index, generation.image_contract)
        except SearchIndexError as error:
            yield str(error)


def _lessons(index: Path, connection: sqlite3.Connection) -> Iterator[str]:
    for generation in all_generations(connection):
        if not missing_data(index, generation):
            try:
                load_data(index, generation)
            except TeachingError as error:
                yield str(error)
        elif generation.base:  # taught by an earlier state of the folder; undoing needs the data too
            yield f"lessons cannot be undone: {missing_data(index, generation)}"


def _first(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:LISTED])) + (", ..." if len(ids) > LISTED else "")
