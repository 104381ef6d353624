"""Which segments the derived files of an index have: when rows are sealed, merged, and written again.

New rows are in memory only until there are `SEAL_ROWS` of them; then they become a segment. It takes the segment before
it with it, unless that is `GROWTH` times as large, and so on: a row is written a number of times that grows with the
logarithm of the index, and a search goes through few segments (the logarithmic method, Bentley and Saxe, 1980). A
segment that has lost `REWRITE_REMOVED` of its rows is written again.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.index.database import current_revision, reading, snapshot
from itembed_tf.index.generations import all_generations, current_generation
from itembed_tf.index.records import Generation
from itembed_tf.index.removals import gone
from itembed_tf.index.rows import Rows, count_rows, last_row
from itembed_tf.index.segments import (
    DERIVED,
    Segment,
    differing,
    folders,
    generation_folder,
    segments,
    write_segment,
)
from itembed_tf.locks import locked_folder

SEAL_ROWS = 5_000
GROWTH = 4
REWRITE_REMOVED = 0.25

Approximate = Callable[[Rows, Path], dict[str, Any]]


@dataclass(frozen=True)
class Range:
    """Row numbers ``after < row <= last``, and what is there.

    Attributes:
        alive: rows that were not removed.
        removed: rows of its segment that were.
        sealed: whether a segment has exactly these rows.
        approximate: whether that has an approximate index.
    """

    after: int
    last: int
    alive: int
    removed: int = 0
    sealed: bool = True
    approximate: bool = False


def planned(have: Sequence[Range], new: Range, wants: Callable[[int], bool], everything: bool = False) -> list[Range]:
    """The ranges that the segments should have, in order; those with ``sealed`` false are to be written.

    Args:
        have: the segments in order; new: the rows after them.
        wants: whether a segment of so many rows should have an approximate index.
        everything: seal the new rows even if they are few.
    """
    ranges = list(have)
    if new.alive and (everything or new.alive >= SEAL_ROWS):
        ranges.append(new)
        while len(ranges) > 1 and ranges[-2].alive < GROWTH * ranges[-1].alive:
            last, before = ranges.pop(), ranges.pop()
            ranges.append(Range(before.after, last.last, before.alive + last.alive, sealed=False))
    return [
        Range(r.after, r.last, r.alive, sealed=False)
        if r.removed > REWRITE_REMOVED * (r.alive + r.removed) or wants(r.alive) > r.approximate
        else r
        for r in ranges
    ]


def update_segments(
    index: Path,
    generation: Generation | None = None,
    *,
    wants: Callable[[int, int], bool],
    approximate: Approximate,
    everything: bool = False,
) -> list[Path]:
    """Write the segments that a generation lacks, and remove those that it no longer needs. Searches go on meanwhile.

    Args:
        index: folder.
        generation: the current one by default.
        wants: (rows of a segment, rows of the generation) -> whether it gets an approximate index.
        approximate: see `write_segment`.
        everything: seal the new rows even if they are few.

    Returns:
        The folders of the segments that were written.

    Raises:
        Locked: another process updates them.
        OSError: the folder cannot be written.
    """
    with closing(reading(index)) as connection:
        generation = generation or current_generation(connection)
        if generation is None:
            return []
        _remove_other_generations(index, connection)
        if not generation_folder(index, generation.number).exists() and not everything:
            with snapshot(connection):
                if count_rows(connection, generation.number, 0, last_row(connection)) < SEAL_ROWS:
                    return []
        folder = generation_folder(index, generation.number)
        with locked_folder(folder, instead="search the index meanwhile: a search does not need these files"):
            found, plan = _plan(index, connection, generation, wants, everything)
            _discard(index, generation, {segment.folder for segment in found})
            total = sum(part.alive for part in plan)
            written = [
                write_segment(
                    index,
                    connection,
                    generation,
                    part.after,
                    part.last,
                    approximate if wants(part.alive, total) else None,
                )
                for part in plan
                if not part.sealed
            ]
            ranges = {(part.after + 1, part.last) for part in plan if part.sealed}
            kept = {segment.folder for segment in found if (segment.stamp.first, segment.stamp.last) in ranges}
            _discard(index, generation, kept.union(written))
            return written


def _plan(
    index: Path,
    connection: sqlite3.Connection,
    generation: Generation,
    wants: Callable[[int, int], bool],
    everything: bool,
) -> tuple[list[Segment], list[Range]]:
    with snapshot(connection) as revision:
        found = segments(index, connection, generation, revision)
        have = []
        for segment in found:
            stamp = segment.stamp
            removed = len(gone(connection, generation.number, segment.rows.rows, stamp.revision))
            alive = stamp.count - removed
            have.append(Range(stamp.first - 1, stamp.last, alive, removed, True, stamp.approximate is not None))
        after, last = (have[-1].last if have else 0), last_row(connection)
        new = Range(after, last, count_rows(connection, generation.number, after, last), sealed=False)
        total = sum(r.alive for r in have) + new.alive
    return found, planned(have, new, lambda rows: wants(rows, total), everything)


def _remove_other_generations(index: Path, connection: sqlite3.Connection) -> None:
    known = {str(generation.number) for generation in all_generations(connection)}
    root = index / DERIVED
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name.isdecimal() and folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)


def _discard(index: Path, generation: Generation, kept: Set[Path]) -> None:
    for folder in folders(index, generation.number):
        if folder not in kept:  # a process that has mapped its files keeps them until it ends
            shutil.rmtree(folder, ignore_errors=True)


def check_segments(index: Path) -> list[str]:
    """What is wrong with the derived files, one sentence each; every row of every segment is compared with SQLite.

    Nothing that is wrong changes what a search finds, as far as it is noticed when the files are opened: deleting the
    folder ``derived`` repairs all of it.
    """
    problems = []
    with closing(reading(index)) as connection, snapshot(connection):
        for generation in all_generations(connection):
            found = segments(index, connection, generation, current_revision(connection))
            used = {segment.folder for segment in found}
            for folder in folders(index, generation.number):
                if folder not in used:
                    problems.append(f"{folder} does not fit the index, and is not used; it may be deleted")
            for segment in found:
                wrong = differing(connection, segment.rows, np.arange(len(segment.rows)))
                if wrong:
                    problems.append(
                        f"{segment.folder} differs from {len(wrong)} vectors of the index, the first is row "
                        f"{wrong[0]}; delete the folder {index / DERIVED}, and it is written again"
                    )
    return problems
