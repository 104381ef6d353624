"""The local engine follows the database: what was added is found at once, what was deleted is gone at once."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.errors import UsageError
from itembed_tf.index.database import reading, snapshot, transaction, writing
from itembed_tf.index.engines import open_engine
from itembed_tf.index.generations import StoredEncoders, start_generation
from itembed_tf.index.items import delete_items, put_vectors
from itembed_tf.index.removals import forget_removed
from tests.support.small_index import new_item, write_index

AXES = np.eye(4, dtype=np.float32)
QUERY = np.array([[1, 0, 0, 0, 1, 0]], np.float32)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_index(tmp_path / "i", [new_item(f"{n}.jpg", [1, n, 0, 0]) for n in range(3)])
    return tmp_path / "i"


def ids(engine, k: int = 9, allowed=None) -> list[int]:
    engine.refresh()
    [items], _ = engine.search(QUERY, k, allowed)
    return [int(item) for item in items if item >= 0]


def test_additions_replacements_and_deletions_are_seen_at_the_next_refresh(index: Path) -> None:
    with closing(open_engine(index)) as engine:
        assert ids(engine) == [1, 2, 3]
        write_index(index, [new_item("new.jpg", [2, 1, 0, 0]), new_item("0.jpg", [-1, 0, 0, 0])])
        assert ids(engine) == [4, 2, 3, 1], "0.jpg keeps its id and has a new vector"
        assert ids(engine, allowed=np.array([1, 3, 77])) == [3, 1]
        with writing(index) as connection:
            delete_items(connection, [4, 3])
        assert ids(engine) == [2, 1]
        assert engine.refresh().count == 2


def test_a_view_does_not_change(index: Path) -> None:
    with closing(open_engine(index)) as engine:
        before = engine.refresh()
        with writing(index) as connection:
            delete_items(connection, [1])
        after = engine.refresh()
        assert [before.search(QUERY, 1)[0].item(), after.search(QUERY, 1)[0].item()] == [1, 2]
        assert after.revision == before.revision + 1


def test_a_view_of_the_callers_snapshot(index: Path) -> None:
    with closing(open_engine(index)) as engine, closing(reading(index)) as connection, snapshot(connection) as revision:
        write_index(index, [new_item("later.jpg", AXES[0])])
        assert engine.refresh(connection).revision == revision
        later = engine.refresh()
        assert (later.count, later.revision > revision) == (4, True)
        assert engine.refresh(connection) is later, "an older snapshot does not undo what was seen"


def test_biases_are_subtracted_by_the_kind_of_query(tmp_path: Path) -> None:
    write_index(
        tmp_path / "i", [new_item("hub", AXES[0], text_bias=0.5, image_bias=0.125), new_item("b", [3, 1, 0, 0])]
    )
    with closing(open_engine(tmp_path / "i")) as engine:
        engine.refresh()
        queries = np.array([[1, 0, 0, 0, *kind] for kind in ((1, 0), (0, 1), (0, 0))], np.float32)
        items, scores = engine.search(queries, 2)
        assert items.tolist() == [[2, 1], [2, 1], [1, 2]]
        np.testing.assert_allclose(scores[:, 0], [0.9487, 0.9487, 1], atol=1e-3)


def test_a_reader_that_is_older_than_the_table_of_removals(index: Path) -> None:
    with closing(open_engine(index)) as engine:
        assert ids(engine) == [1, 2, 3]
        with writing(index) as connection:
            delete_items(connection, [2])
            with transaction(connection):
                assert forget_removed(connection) == 1
            delete_items(connection, [3])
        assert ids(engine) == [1]


def test_the_generation_that_becomes_current_is_searched(index: Path) -> None:
    with closing(open_engine(index)) as engine:
        assert ids(engine) == [1, 2, 3]
        with writing(index) as connection:
            second = start_generation(connection, StoredEncoders("d0" * 32, 2, b"", "{}"))
            vectors = np.array([[0, 1], [1, 0], [0.6, 0.8]], np.float32)
            put_vectors(connection, second.number, [1, 2, 3], vectors, biases=np.zeros((3, 2), np.float32))
            assert ids(engine) == [1, 2, 3], "one that is being built is not searched"
            with transaction(connection):
                connection.execute("UPDATE generations SET state = 'previous' WHERE number = 1")
                connection.execute("UPDATE generations SET state = 'current' WHERE number = 2")
        view = engine.refresh()
        assert (view.generation, view.dimensions) == (2, 2)
        items, _ = view.search(np.array([[1, 0, 0, 0]], np.float32), 3)
        assert items.tolist() == [[2, 3, 1]]


def test_an_index_without_a_generation_finds_nothing(tmp_path: Path) -> None:
    with writing(tmp_path / "i", create=True):
        pass
    with closing(open_engine(tmp_path / "i")) as engine:
        view = engine.refresh()
        assert (view.generation, view.count) == (0, 0)
        assert view.search(np.zeros((2, 2), np.float32), 1)[0].tolist() == [[-1], [-1]]


def test_threads_search_while_another_process_writes(index: Path) -> None:
    wrong: list[list[int]] = []
    with closing(open_engine(index)) as engine:
        ids(engine)
        stop = threading.Event()

        def search() -> None:
            while not stop.is_set():
                view = engine.refresh()
                [items], [scores] = view.search(QUERY, 5)
                if items[0] != 1 or np.any(np.diff(scores[: view.count]) > 0) or view.count != (items >= 0).sum():
                    wrong.append(items.tolist())

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            write_index(index, [new_item("x.jpg", [0, 0, 1, 0])])
            with writing(index) as connection:
                connection.execute("SELECT id FROM items WHERE name = 'x.jpg'")
                [[id]] = connection.execute("SELECT id FROM items WHERE name = 'x.jpg'").fetchall()
                delete_items(connection, [id])
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_an_engine_that_does_not_exist(index: Path) -> None:
    with pytest.raises(UsageError, match=r"engine 'exakt': allowed are .*did you mean 'exact'"):
        open_engine(index, "exakt")
