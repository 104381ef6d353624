"""Loads Python's own SQLite, also into a process that has loaded TensorFlow.

TensorFlow brings an SQLite without full-text search, and its functions take the place of those of the system in every
library that is loaded after it. Python's module `sqlite3` then has no FTS5. With RTLD_DEEPBIND (glibc), a library takes
its functions from what it was linked with.
"""

from __future__ import annotations

import os
import sys
from functools import cache

from itembed_tf.index.errors import SearchIndexError


def _load_sqlite() -> None:
    """Import `sqlite3`; nothing happens where it is imported already."""
    if not hasattr(sys, "getdlopenflags"):  # Windows
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        import sqlite3  # noqa: F401
    finally:
        sys.setdlopenflags(flags)


@cache
def check_sqlite() -> None:
    """Raises SearchIndexError if this process has an SQLite without full-text search."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE texts USING fts5(caption)")
    except sqlite3.OperationalError:
        version = connection.execute("SELECT sqlite_version()").fetchone()[0]
        cause = "TensorFlow was loaded before it: import itembed_tf.index, or sqlite3, before tensorflow"
        advice = cause if "tensorflow" in sys.modules else "use a Python whose SQLite was built with FTS5"
        raise SearchIndexError(f"SQLite {version} of this process has no full-text search (FTS5); {advice}") from None
    finally:
        connection.close()


_load_sqlite()
