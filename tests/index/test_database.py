"""Opening an index: what is refused, and with which advice."""

from __future__ import annotations

import functools
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from itembed_tf.index.database import DATABASE, reading, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.sqlite_library import check_sqlite
from itembed_tf.locks import Locked
from tests.support.small_index import new_item, write_index


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_index(tmp_path / "photos.index", [new_item("a.jpg", [1, 0, 0, 0])])
    return tmp_path / "photos.index"


def test_a_folder_without_an_index_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(SearchIndexError, match=r"none is not an index .*`itembed index RUN INPUT --out"):
        reading(tmp_path / "none")
    with pytest.raises(SearchIndexError, match="is not an index"), writing(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(SearchIndexError, match="is not an index of itembed"):
        reading(tmp_path)


def test_another_schema_is_refused(index: Path) -> None:
    with closing(sqlite3.connect(index / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(SearchIndexError, match="has schema 9, and this version of itembed reads schema 2; use the"):
        reading(index)


def test_a_file_that_is_no_database_is_refused(index: Path) -> None:
    (index / DATABASE).write_bytes(b"no database" * 1000)
    for file in index.glob(f"{DATABASE}-*"):
        file.unlink()
    with pytest.raises(SearchIndexError, match=r"is damaged .*restore it from a backup"):
        reading(index)


def test_one_process_at_a_time_writes(index: Path) -> None:
    with writing(index), pytest.raises(Locked, match="search it meanwhile"), writing(index):
        pass


def test_a_name_with_characters_of_a_web_address_is_opened(tmp_path: Path) -> None:
    odd = tmp_path / "50% done #1, ü"
    write_index(odd, [new_item("a.jpg", [1, 0, 0, 0])])
    with closing(reading(odd)) as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (1,)


def test_an_sqlite_without_full_text_search_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutFts5(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("fts5", "fts6"), *values)

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=WithoutFts5))
    check_sqlite.cache_clear()
    with pytest.raises(SearchIndexError, match=r"SQLite 3.* of this process has no full-text search \(FTS5\); "):
        reading(index)


def test_full_text_search_works_after_tensorflow_was_loaded() -> None:
    code = """
import tensorflow
import itembed_tf.index.database
import functools
import sqlite3
import subprocess
import sys
sqlite3.connect(":memory:").execute("CREATE VIRTUAL TABLE texts USING fts5(caption)")
print("found")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "found\n", done.stderr
