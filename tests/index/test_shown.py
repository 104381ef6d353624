"""What is counted of the hits that were shown, and what is not; many processes, damaged files, and the bound."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index import Query, QueryVector, open_searcher, shown
from itembed_tf.index.shown import FILE, SWITCH, ShownCounter, most_shown
from tests.support.small_index import new_item, write_index


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_index(tmp_path / "i", [new_item(f"{n}.jpg", [1, n, 0, 0]) for n in range(4)])
    return tmp_path / "i"


def search(index: Path, limit: int) -> None:
    with closing(open_searcher(index)) as searcher:
        searcher.search(Query(limit=limit), QueryVector(np.eye(4, dtype=np.float32)[0], "image"))
        searcher.search(Query())  # lists everything


def test_hits_are_counted_and_lists_are_not(index: Path) -> None:
    search(index, 1)
    search(index, 3)
    assert most_shown(index, 10) == [1, 2, 3]
    assert most_shown(index, 1) == [1]
    with closing(sqlite3.connect(index / FILE)) as connection:
        [columns] = connection.execute("SELECT group_concat(name) FROM pragma_table_info('shown')")
        assert columns == ("item,count",), "nothing of the queries is kept"
        assert connection.execute("SELECT * FROM shown").fetchall() == [(1, 2), (2, 1), (3, 1)]


def test_switched_off_or_read_only_nothing_is_written(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    search(index, 3)
    monkeypatch.delenv(SWITCH)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    search(index, 3)
    assert not (index / FILE).exists() and most_shown(index, 10) == []


def test_counts_are_added_in_the_background_when_there_are_many(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "GATHERED", 2)
    threads = []
    monkeypatch.setattr(shown.threading, "Thread", lambda target, **_: threads.append(target) or _Thread(target))
    counter = ShownCounter(index)
    counter.add([7])
    assert not threads
    counter.add([7, 8])
    assert len(threads) == 1 and most_shown(index, 10) == [7, 8]


def test_above_the_bound_counts_are_halved(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MOST", 2)
    counter = ShownCounter(index)
    for ids in ([6, 6, 6, 6, 7, 7], [8]):
        counter.add(ids)
        counter.write()
    with closing(sqlite3.connect(index / FILE)) as connection:
        assert connection.execute("SELECT * FROM shown").fetchall() == [(6, 2), (7, 1)]


def test_another_process_that_writes_is_not_waited_for_and_a_damaged_file_is_begun_anew(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "WAIT_SECONDS", 0.01)
    search(index, 1)
    with closing(sqlite3.connect(index / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        search(index, 2)
    assert most_shown(index, 10) == [1]
    (index / FILE).write_bytes(b"x" * 5000)
    assert most_shown(index, 10) == []
    search(index, 1)
    search(index, 1)
    assert most_shown(index, 10) == [1]


class _Thread:
    def __init__(self, target) -> None:
        self.start = target
