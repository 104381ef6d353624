"""Segments: rows of a generation as memory-mapped files in the folder ``derived/<generation>`` of an index.

A segment is a folder with arrays (``.npy``), for a large one a FAISS index, and a stamp: which index, contract and
generation, the range of row numbers, the revision at which they were read, and size and checksum of the head of each
file. It never changes. Rows that were removed later are found in SQLite, and a segment that does not fit is not used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.files import PARTIAL, folder_atomically
from itembed_tf.index.database import identity, snapshot
from itembed_tf.index.records import Generation
from itembed_tf.index.rows import Rows, count_rows, iterate_rows

DERIVED = "derived"
STAMP = "stamp.json"
SCHEMA = 1
HEAD = 1 << 16  # bytes of each file that its checksum covers
SAMPLES = 16  # rows that are compared with SQLite before a segment is used
ARRAYS = ("rows", "items", "vectors", "biases")


@dataclass(frozen=True)
class Stamp:
    """What a segment was made from.

    Attributes:
        schema: of the segment's files.
        index: its identity, so that a segment of another one does not fit.
        contract: of the generation's image encoder, which stays when the text encoder is taught names.
        generation, dimensions: of the generation.
        first, last: range of row numbers, both included; rows of other generations are left out.
        revision: of the index when the rows were read.
        count: rows in the segment.
        files: [size, SHA-256 of the first `HEAD` bytes] by file name.
        approximate: settings and measured recall of the FAISS index; None without one.
    """

    schema: int
    index: str
    contract: str
    generation: int
    dimensions: int
    first: int
    last: int
    revision: int
    count: int
    files: dict[str, list[Any]]
    approximate: dict[str, Any] | None = None


@dataclass(frozen=True)
class Segment:
    """A segment: its folder, its stamp, and its arrays, memory-mapped."""

    folder: Path
    stamp: Stamp
    rows: Rows


def generation_folder(index: Path, generation: int) -> Path:
    return index / DERIVED / str(generation)


def write_segment(
    index: Path,
    connection: sqlite3.Connection,
    generation: Generation,
    after: int,
    last: int,
    approximate: Callable[[Rows, Path], dict[str, Any]] | None = None,
) -> Path:
    """Copy the rows ``after < row <= last`` of a generation from SQLite; returns the folder.

    The caller holds the lock of the generation's folder.

    Args:
        approximate: adds an approximate index over the rows to the folder, and returns its settings. The vectors are
            float16 then, of which few are read for a query; without it they are float32, which is faster to scan.
    """
    folder = generation_folder(index, generation.number)
    dtype = np.float32 if approximate is None else np.float16
    with snapshot(connection) as revision:
        target = folder / f"{after + 1}-{last}-{revision}-{'scanned' if approximate is None else 'approximate'}"
        count = count_rows(connection, generation.number, after, last)
        with folder_atomically(target) as temporary:
            chunks = iterate_rows(connection, generation.number, generation.dimensions, after, last)
            rows = _written(temporary, chunks, count, generation.dimensions, dtype)
            settings = None if approximate is None else approximate(rows, temporary)
            stamp = Stamp(
                schema=SCHEMA,
                index=identity(connection),
                contract=generation.image_contract,
                generation=generation.number,
                dimensions=generation.dimensions,
                first=after + 1,
                last=last,
                revision=revision,
                count=count,
                files={},
                approximate=settings,
            )
            write_stamp(temporary, stamp)
    return target


def _written(folder: Path, chunks: Iterator[Rows], count: int, dimensions: int, dtype: type) -> Rows:
    shapes = {"rows": (count,), "items": (count,), "vectors": (count, dimensions), "biases": (count, 2)}
    types = {"rows": np.int64, "items": np.int64, "vectors": dtype, "biases": np.float32}
    if not count:
        empty: dict[str, Any] = {name: np.empty(shapes[name], types[name]) for name in ARRAYS}
        for name, array in empty.items():
            np.save(folder / f"{name}.npy", array)
        return Rows(**empty)
    arrays: dict[str, Any] = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", types[name], shapes[name]) for name in ARRAYS
    }
    filled = 0
    for chunk in chunks:
        for name, array in arrays.items():
            array[filled : filled + len(chunk)] = getattr(chunk, name)
        filled += len(chunk)
    for array in arrays.values():
        array.flush()
    return Rows(**arrays)


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Sync the files of a segment to the disk and write their sizes and checksums, and the stamp, beside them."""
    files = {}
    for file in sorted(folder.iterdir()):
        if file.name != STAMP:
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
            files[file.name] = _described(file)
    with open(folder / STAMP, "w", encoding="utf-8") as written:
        json.dump(dataclasses.asdict(dataclasses.replace(stamp, files=files)), written)
        written.flush()
        os.fsync(written.fileno())


def read_stamp(folder: Path) -> Stamp:
    """Raises OSError, ValueError or TypeError for one that cannot be read."""
    return Stamp(**json.loads((folder / STAMP).read_text(encoding="utf-8")))


def segments(index: Path, connection: sqlite3.Connection, generation: Generation, revision: int) -> list[Segment]:
    """The segments of a generation that fit, by row number, from the first row on without a gap.

    What does not fit, and what lies after a gap, is left out: the caller reads these rows from SQLite.

    Args:
        revision: of the snapshot that the caller reads.
    """
    found = [segment for folder in folders(index, generation.number) if (segment := _readable(folder)) is not None]
    made = identity(connection)
    chain: list[Segment] = []
    after = 0
    while True:
        following = [s for s in found if s.stamp.first == after + 1 and s.stamp.last > after]
        for segment in sorted(following, key=lambda s: (-s.stamp.last, -s.stamp.revision)):
            if _fits(segment, connection, generation, made, revision):
                chain.append(segment)
                after = segment.stamp.last
                break
        else:
            return chain


def folders(index: Path, generation: int) -> list[Path]:
    """Folders of segments, whether they fit or not."""
    folder = generation_folder(index, generation)
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith(PARTIAL))


def _readable(folder: Path) -> Segment | None:
    """A segment whose files are those that its stamp describes."""
    try:
        stamp = read_stamp(folder)
        if stamp.schema != SCHEMA or not {f"{name}.npy" for name in ARRAYS} <= stamp.files.keys():
            return None
        if any(_described(folder / name) != description for name, description in stamp.files.items()):
            return None
        rows = Rows(**{name: _mapped(folder / f"{name}.npy") for name in ARRAYS})
    except (OSError, ValueError, TypeError):
        return None
    return Segment(folder, stamp, rows)


def _mapped(file: Path) -> NDArray[Any]:
    return np.asarray(np.load(file, mmap_mode="r"))  # as ndarray: a memmap takes longer to slice


def _described(file: Path) -> list[Any]:
    with open(file, "rb") as opened:
        return [os.fstat(opened.fileno()).st_size, hashlib.sha256(opened.read(HEAD)).hexdigest()]


def _fits(segment: Segment, connection: sqlite3.Connection, generation: Generation, made: str, revision: int) -> bool:
    stamp = segment.stamp
    if (stamp.index, stamp.contract) != (made, generation.image_contract) or stamp.revision > revision:
        return False
    if (stamp.generation, stamp.dimensions) != (generation.number, generation.dimensions):
        return False
    rows = segment.rows
    if any(len(getattr(rows, name)) != stamp.count for name in ARRAYS) or rows.vectors.ndim != 2:
        return False
    if rows.vectors.shape[1] != stamp.dimensions or rows.vectors.dtype not in (np.float16, np.float32):
        return False
    samples = np.unique(np.linspace(0, stamp.count - 1, SAMPLES).astype(np.int64)) if stamp.count else ()
    return not differing(connection, rows, samples)


def differing(connection: sqlite3.Connection, rows: Rows, positions: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """Row numbers, of those at `positions`, whose content differs from SQLite; rows that are gone there are not."""
    wrong = []
    for position in positions:
        row = int(rows.rows[position])
        query = "SELECT item, vector, text_bias, image_bias FROM vectors WHERE row = ?"
        found = connection.execute(query, (row,)).fetchone()
        if found is None:
            continue
        item, vector, *biases = found
        same = item == rows.items[position] and rows.vectors[position].astype("<f2").tobytes() == vector
        if not same or not np.array_equal(rows.biases[position], np.array(biases, np.float32)):
            wrong.append(row)
    return wrong
