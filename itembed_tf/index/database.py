"""Connections to ``index.sqlite``: many readers and one writer, and what a transaction promises.

The journal is a write-ahead log (WAL): readers see the last committed state and never wait for the writer. With
``synchronous = FULL`` SQLite syncs the log at every commit, so a committed transaction survives a power loss, as far
as the disk tells the truth; a killed process loses only the transaction that it had not committed.
https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.schema import APPLICATION_ID, SCHEMA, TABLES
from itembed_tf.index.sqlite_library import check_sqlite
from itembed_tf.locks import locked_folder

DATABASE = "index.sqlite"
WAIT_SECONDS = 30.0  # of a connection for another one's lock


def is_index(folder: str | Path) -> bool:
    return (Path(folder) / DATABASE).is_file()


@contextmanager
def writing(folder: str | Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that may write. One process at a time has one; readers go on meanwhile.

    Args:
        folder: of the index.
        create: make a new, empty index where there is none.

    Raises:
        Locked: another process writes to the index.
        SearchIndexError: there is no index, or not one that this version reads.
    """
    file = Path(folder) / DATABASE
    if not create:
        _check_exists(file)
    with (
        locked_folder(folder, instead="search it meanwhile: readers do not wait"),
        closing(_connect(f"file:{_quoted(file)}?mode=rwc")) as connection,
    ):
        if create and _is_empty(connection):
            _create(connection)
        _check(connection, file)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def reading(folder: str | Path) -> sqlite3.Connection:
    """A read-only connection, which sees the index as the last committed transaction left it.

    It may be used by other threads than the one that opened it, one at a time.

    Raises:
        SearchIndexError: there is no index, or not one that this version reads.
    """
    file = Path(folder) / DATABASE
    _check_exists(file)
    try:
        connection = _connect(f"file:{_quoted(file)}?mode=ro")
        _check(connection, file)
    except sqlite3.OperationalError:  # a read-only disk, on which the shared memory of the log cannot be created
        connection = _connect(f"file:{_quoted(file)}?mode=ro&immutable=1")
        _check(connection, file)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[int]:
    """One change of the index: all of the block or nothing. Yields the new revision."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        revision = current_revision(connection) + 1
        connection.execute("UPDATE settings SET value = ? WHERE name = 'revision'", (str(revision),))
        yield revision
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[int]:
    """One state of the index for all queries of the block, whatever is written meanwhile. Yields its revision."""
    connection.execute("BEGIN")
    try:
        yield current_revision(connection)
    finally:
        connection.execute("ROLLBACK")


def current_revision(connection: sqlite3.Connection) -> int:
    """Counts the transactions that changed the index."""
    return int(connection.execute("SELECT value FROM settings WHERE name = 'revision'").fetchone()[0])


def identity(connection: sqlite3.Connection) -> str:
    """A random name of the index, 16 hexadecimal digits, which a copy of it has too."""
    return str(connection.execute("SELECT value FROM settings WHERE name = 'identity'").fetchone()[0])


def _connect(uri: str) -> sqlite3.Connection:
    check_sqlite()
    connection = sqlite3.connect(
        uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _quoted(file: Path) -> str:
    from urllib.parse import quote

    return quote(str(file.absolute()))


def _check_exists(file: Path) -> None:
    if not file.is_file():
        raise SearchIndexError(
            f"{file.parent} is not an index (no {DATABASE}); `itembed index RUN INPUT --out {file.parent}` makes one"
        )


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a database is new: also one that a process left empty which was killed while it made the tables."""
    try:
        return connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    except sqlite3.DatabaseError:  # `_check` says what it is
        return False


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN;{TABLES}PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {SCHEMA};"
        "INSERT INTO settings VALUES ('revision', '0'), ('created', strftime('%Y-%m-%dT%H:%M:%SZ')), "
        "('identity', lower(hex(randomblob(8))));COMMIT;"
    )


def _check(connection: sqlite3.Connection, file: Path) -> None:
    try:
        kind, schema = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise SearchIndexError(f"{file} is damaged ({error}); restore it from a backup, or rebuild the index") from None
    if kind != APPLICATION_ID:
        raise SearchIndexError(f"{file} is not an index of itembed; `itembed index RUN INPUT --out FOLDER` makes one")
    if schema != SCHEMA:
        raise SearchIndexError(
            f"{file} has schema {schema}, and this version of itembed reads schema {SCHEMA}; use the version that "
            "wrote it, or rebuild the index with `itembed index`"
        )
