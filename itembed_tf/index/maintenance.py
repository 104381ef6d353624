"""Upkeep of an index: deleting items and sources, and compaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.index.database import DATABASE, transaction, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.items import CHUNK, delete_items
from itembed_tf.index.removals import forget_removed

DELETED = "deleted from the index"  # reason in the table `unreadable`


@dataclass(frozen=True)
class Compaction:
    """Bytes of the database before and after, and the removed rows that were forgotten."""

    before: int
    after: int
    removed: int


def delete_matching(index: str | Path, patterns: Sequence[str]) -> int:
    """Delete items by place; they stay out of the index, although their files are there, until these change.

    Args:
        index: folder.
        patterns: each the place of an item, the path of a folder or of a source, or a pattern of places with ``*``,
            ``?`` or ``[...]``; a path may be relative. A source that is named is deleted too.

    Returns:
        How many items were deleted. They are gone for every search that begins afterwards.

    Raises:
        SearchIndexError: a pattern matches nothing; nothing is deleted.
    """
    with writing(index) as connection:
        found: dict[int, None] = {}
        sources: list[int] = []
        for pattern in patterns:
            items, source = _matching(connection, pattern)
            if not items and source is None:
                raise SearchIndexError(
                    f"no item of {index} matches {pattern!r}; give the place of an item, as `itembed search {index}` "
                    "shows it, a folder, or a pattern such as '*/holidays/*'"
                )
            found.update(dict.fromkeys(items))
            sources += [] if source is None else [source]
        ids = list(found)
        _leave_out(connection, ids, sources)
        deleted = delete_items(connection, ids)
        _delete_sources(connection, sources)
        return deleted


def _matching(connection: sqlite3.Connection, pattern: str) -> tuple[list[int], int | None]:
    """Ids of the items that a pattern means, and the source if it is one."""
    path = pattern if pattern.startswith("*") else os.path.abspath(os.path.expanduser(pattern))
    row = connection.execute("SELECT id FROM sources WHERE location IN (?, ?)", (pattern, path)).fetchone()
    source = int(row[0]) if row else None
    if source is not None:
        rows = connection.execute("SELECT id FROM items WHERE source = ?", (source,))
        return [int(id) for (id,) in rows], source
    escaped = path.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    query = "SELECT id FROM items WHERE place IN (?, ?) OR place GLOB ? OR place GLOB ? OR place GLOB ?"
    rows = connection.execute(query, (pattern, path, path, f"{escaped}/*", f"{escaped}#*"))
    return [int(id) for (id,) in rows], None


def _leave_out(connection: sqlite3.Connection, ids: Sequence[int], sources: Sequence[int]) -> None:
    """Remember places and stamps of items whose source stays, so that the next build does not add them again."""
    skipped = ",".join(map(str, sources)) or "NULL"
    with transaction(connection):
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            connection.execute(
                "INSERT OR REPLACE INTO unreadable SELECT place, source, stamp, ? FROM items "
                f"WHERE id IN ({','.join('?' * len(chunk))}) AND source NOT IN (SELECT id FROM sources "
                f"WHERE id IN ({skipped}))",
                (DELETED, *chunk),
            )


def _delete_sources(connection: sqlite3.Connection, sources: Sequence[int]) -> None:
    with transaction(connection):
        for source in sources:
            connection.execute("DELETE FROM unreadable WHERE source = ?", (source,))
            connection.execute(
                "DELETE FROM sources WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM items WHERE source = ?1)", (source,)
            )


def compact(index: str | Path) -> Compaction:
    """Give the space of deleted items back to the disk, and optimise the full-text index. Searches go on meanwhile.

    It needs free disk space of about the size of the database.

    Raises:
        Locked: another process writes to the index.
        sqlite3.OperationalError: the disk is full; the index is unchanged.
    """
    file = Path(index) / DATABASE
    with writing(index) as connection:
        before = _size(file)
        with transaction(connection):
            removed = forget_removed(connection)
            connection.execute("DELETE FROM thumbnails WHERE content NOT IN (SELECT content FROM items)")
            connection.execute("INSERT INTO texts (texts) VALUES ('optimize')")
        connection.execute("VACUUM")
        connection.execute("PRAGMA optimize")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a reader may keep it from shrinking the log
        return Compaction(before, _size(file), removed)


def _size(file: Path) -> int:
    return sum(part.stat().st_size for part in (file, file.with_name(f"{file.name}-wal")) if part.exists())
