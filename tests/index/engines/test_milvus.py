"""The Milvus engine on Milvus Lite: the answers of the exact engine, in step with SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from itembed_tf.errors import UsageError
from itembed_tf.extras import MissingExtra
from itembed_tf.index.database import DATABASE, transaction, writing
from itembed_tf.index.engines import open_engine
from itembed_tf.index.engines.milvus import MilvusEngine
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, start_generation
from itembed_tf.index.items import delete_items, put_vectors
from itembed_tf.index.removals import forget_removed
from tests.support.small_index import new_item, write_index

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")
COUNT, DIMENSIONS, K = 200, 8, 10


def items(first: int, count: int):
    random = np.random.default_rng(first)
    vectors, biases = random.standard_normal((count, DIMENSIONS)), random.random(count) / 4
    return [new_item(f"{first + i}.jpg", v, text_bias=float(b)) for i, (v, b) in enumerate(zip(vectors, biases))]


def queries(count: int = 7) -> np.ndarray:
    asked = np.random.default_rng(99).standard_normal((count, DIMENSIONS))
    return np.concatenate([asked, np.tile((1, 0), (count, 1))], axis=1).astype(np.float32)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_index(tmp_path / "i", items(0, COUNT), DIMENSIONS)
    return tmp_path / "i"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"milvus://{tmp_path_factory.mktemp('milvus') / 'm.db'}"


@pytest.fixture
def engine(index: Path, address: str) -> Iterator:
    with closing(open_engine(index, address)) as engine:
        yield engine


def assert_same(index: Path, engine, k: int = K, allowed=None) -> None:
    view = engine.refresh()
    found = view.search(queries(), k, allowed)
    with closing(open_engine(index, "exact")) as exact:
        right = exact.refresh().search(queries(), k, allowed)
        assert view.count == exact.refresh().count
    np.testing.assert_array_equal(found[0], right[0])
    np.testing.assert_array_equal(found[1], right[1], err_msg="the scores are the same bits")


def test_the_same_answers_as_the_exact_engine(index: Path, engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same(index, engine)
    assert_same(index, engine, k=COUNT + 5)
    allowed = np.arange(3, COUNT, 3)
    monkeypatch.setattr("itembed_tf.index.engines.milvus.ALLOWED_AT_A_TIME", 20)
    assert_same(index, engine, allowed=allowed)
    assert_same(index, engine, allowed=np.array([], np.int64))


def test_additions_replacements_and_deletions_are_seen(index: Path, engine) -> None:
    assert_same(index, engine)
    write_index(index, [*items(1000, 10), *items(5, 1)], DIMENSIONS)
    with writing(index) as connection:
        delete_items(connection, range(20, 60))
    assert_same(index, engine)
    with writing(index) as connection:
        delete_items(connection, range(60, 80))
        with transaction(connection):
            forget_removed(connection)
    assert_same(index, engine)


def test_another_process_continues_where_the_collection_is(index: Path, address: str, monkeypatch) -> None:
    with closing(open_engine(index, address)) as engine:
        engine.refresh()
    write_index(index, items(1000, 3), DIMENSIONS)
    sent: list[int] = []
    with closing(open_engine(index, address)) as engine:
        upsert = engine._client.upsert
        monkeypatch.setattr(engine._client, "upsert", lambda name, rows: (sent.append(len(rows)), upsert(name, rows)))
        assert_same(index, engine)
    assert sent == [3]


def test_an_interrupted_copy_continues(index: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SENT", 20), ("NOTED", 40)):
        monkeypatch.setattr(f"itembed_tf.index.engines.milvus_rows.{name}", value)
    monkeypatch.setattr("itembed_tf.index.rows.CHUNK", 20)
    with closing(open_engine(index, address)) as engine:
        upsert, calls = engine._client.upsert, []

        def stopping(name, rows):
            calls.append(len(rows))
            if len(calls) == 6:
                raise KeyboardInterrupt
            return upsert(name, rows)

        monkeypatch.setattr(engine._client, "upsert", stopping)
        with pytest.raises(KeyboardInterrupt):
            engine.refresh()
        with writing(index) as connection:
            delete_items(connection, range(1, 30))
        assert_same(index, engine)
    assert sum(calls[6:]) <= COUNT - 80, "80 rows were noted"


def test_a_new_generation_has_its_own_collection(index: Path, engine) -> None:
    assert_same(index, engine)
    with writing(index) as connection:
        second = start_generation(connection, StoredEncoders("d0" * 32, 2, b"", "{}"))
        vectors = np.array([[0, 1], [1, 0]], np.float32)
        put_vectors(connection, second.number, [1, 2], vectors, biases=np.zeros((2, 2), np.float32))
        with transaction(connection):
            connection.execute("UPDATE generations SET state = 'previous' WHERE number = 1")
            connection.execute("UPDATE generations SET state = 'current' WHERE number = 2")
    view = engine.refresh()
    assert view.search(np.array([[1, 0, 0, 0]], np.float32), 3)[0].tolist() == [[2, 1, -1]]


def test_a_collection_of_other_encoders_is_refused(index: Path, engine) -> None:
    engine.refresh()
    with closing(sqlite3.connect(index / DATABASE, isolation_level=None)) as connection, transaction(connection):
        connection.execute("UPDATE encoders SET contract = ?", ("e0" * 32,))
        connection.execute("UPDATE generations SET contract = ?", ("e0" * 32,))
    with pytest.raises(SearchIndexError, match=r"has vectors of other encoders .*drop it, or use another server"):
        engine.refresh()


@pytest.mark.parametrize("address", ["milvus://localhost", "milvus://host:port", "milvus:"])
def test_an_address_that_cannot_be_used(index: Path, address: str) -> None:
    with pytest.raises(UsageError, match="give milvus://HOST:PORT, such as milvus://localhost:19530"):
        MilvusEngine(index, address)


def test_no_server(index: Path) -> None:
    with pytest.raises(SearchIndexError, match=r"Milvus at milvus://127.0.0.1:9: .*see that it runs"):
        MilvusEngine(index, "milvus://127.0.0.1:9")


def test_without_pymilvus(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itembed_tf.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs pymilvus.*pip install 'itembed_tf\[milvus\]'"):
        MilvusEngine(index, "milvus://localhost:19530")


def test_a_large_copy_waits_until_milvus_has_indexed_it(index: Path, address: str, monkeypatch) -> None:
    monkeypatch.setattr("itembed_tf.index.engines.milvus_rows.SHOWN", COUNT)
    with closing(open_engine(index, address)) as engine:
        assert_same(index, engine)  # Milvus Lite has nothing to wait for
    write_index(index, items(1000, COUNT), DIMENSIONS)
    monkeypatch.setattr("itembed_tf.index.engines.milvus_rows.time.sleep", lambda seconds: None)
    with closing(open_engine(index, address)) as engine:
        pending, names, calls = [COUNT, COUNT // 2, 0], ["", "vector"], []
        segments = [SimpleNamespace(num_rows=0, index_name=""), SimpleNamespace(num_rows=COUNT, index_name="")]

        def loaded(_) -> list[SimpleNamespace]:
            segments[1].index_name = names.pop(0)
            return segments

        for name in ("flush", "refresh_load"):
            monkeypatch.setattr(engine._client, name, lambda _, name=name: calls.append((name, len(pending))))
        monkeypatch.setattr(engine._client, "describe_index", lambda *_: {"pending_index_rows": pending.pop(0)})
        monkeypatch.setattr(engine._client, "list_loaded_segments", loaded)
        assert_same(index, engine)
        assert calls == [("flush", 3), ("refresh_load", 0)] and not names
