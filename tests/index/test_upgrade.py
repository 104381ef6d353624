"""Generation N+1 beside N: nothing is lost, nothing mixed, a kill costs one batch, and one call goes back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index.bridge import Bridge
from itembed_tf.index.database import reading, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, all_generations, current_generation
from itembed_tf.index.items import add_source, delete_items, put_items, read_vectors
from itembed_tf.index.re_encoding import (
    items_to_encode,
    map_the_rest,
    paired_vectors,
    put_encoded,
    sample_to_encode,
)
from itembed_tf.index.upgrade import (
    Counts,
    check_whole,
    count_items,
    discard_upgrade,
    roll_back,
    start_upgrade,
    switch,
)
from itembed_tf.retrieval import Bank, Calibration, Correction
from tests.support.small_index import CONTRACT, new_item, write_index

NEW = StoredEncoders("d1" * 32, 3, b"new", "{}")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Seven images with vectors of four dimensions."""
    write_index(tmp_path / "i", [new_item(f"{i}.jpg", [i, 1, 2, 3]) for i in range(7)])
    return tmp_path / "i"


def encoded(items) -> np.ndarray:
    """What the new encoders give: a vector [1, id, 0] of unit length."""
    vectors = np.array([[1, item.id, 0] for item in items], np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def encode_batches(connection, generation, batches: int, size: int = 2) -> None:
    for _, items in zip(range(batches), items_to_encode(connection, generation.number, size)):
        put_encoded(connection, generation, items, encoded(items), None)


def test_the_old_generation_is_searched_until_the_new_one_is_whole(index: Path) -> None:
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        encode_batches(connection, generation, 2)
        assert count_items(connection, generation.number) == Counts(7, 4, 0)
        with pytest.raises(SearchIndexError, match=r"3 items have no vector .* first /photos/4.jpg: they would not"):
            switch(connection, generation)
        assert current_generation(connection).number == 1
    with writing(index) as connection:  # a killed upgrade: the next one goes on where it was
        generation = start_upgrade(connection, NEW)
        assert generation.number == 2
        assert [[item.id for item in items] for items in items_to_encode(connection, 2, 2)] == [[5, 6], [7]]
        encode_batches(connection, generation, 9)
        with closing(reading(index)) as reader:
            assert current_generation(reader).contract == CONTRACT
            switch(connection, generation)
            assert current_generation(reader).contract == NEW.contract
        assert start_upgrade(connection, NEW).state == "current"
        np.testing.assert_allclose(read_vectors(connection, [3], 2)[0], [10**-0.5, 3 * 10**-0.5, 0], atol=1e-3)


def test_one_call_goes_back_and_another_forward(index: Path) -> None:
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        encode_batches(connection, generation, 9)
        switch(connection, generation)
        assert roll_back(connection).contract == CONTRACT
        assert roll_back(connection).contract == NEW.contract
        source = add_source(connection, "folder", "/photos")
        [new] = put_items(connection, [new_item("x.jpg", [1, 0, 0])], source=source, generation=2, dimensions=3)
        with pytest.raises(SearchIndexError, match="1 items were added or changed after the upgrade"):
            roll_back(connection)
        delete_items(connection, [new])
        assert roll_back(connection).number == 1


def test_an_image_that_changes_during_an_upgrade_is_encoded_again(index: Path) -> None:
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        encode_batches(connection, generation, 9)
        source = add_source(connection, "folder", "/photos")
        changed = new_item("2.jpg", [1, 0, 0, 0], content="changed")
        [id] = put_items(connection, [changed], source=source, generation=1, dimensions=4)
        assert [[item.id for item in items] for items in items_to_encode(connection, 2, 9)] == [[id]]
        same = new_item("3.jpg", [1, 0, 0, 0], stamp="touched")
        put_items(connection, [same], source=source, generation=1, dimensions=4)
        assert count_items(connection, 2) == Counts(7, 6, 0)


def test_an_earlier_generation_goes_when_the_next_upgrade_is_done(index: Path) -> None:
    with writing(index) as connection:
        for encoders in (NEW, StoredEncoders("e2" * 32, 3, b"newer", "{}")):
            generation = start_upgrade(connection, encoders)
            encode_batches(connection, generation, 9)
            switch(connection, generation)
        assert [(each.number, each.state) for each in all_generations(connection)] == [(2, "previous"), (3, "current")]
        assert connection.execute("SELECT count(*) FROM vectors").fetchone()[0] == 14
        assert connection.execute("SELECT count(*) FROM encoders").fetchone()[0] == 2
        roll_back(connection)  # 2 is searched, 3 is kept; an upgrade from there keeps 2
        generation = start_upgrade(connection, StoredEncoders("f3" * 32, 3, b"newest", "{}"))
        encode_batches(connection, generation, 9)
        switch(connection, generation)
        assert [(each.number, each.state) for each in all_generations(connection)] == [(2, "previous"), (4, "current")]


def test_another_upgrade_waits_for_the_first_or_for_its_end(index: Path) -> None:
    other = StoredEncoders("e2" * 32, 3, b"", "{}")
    with writing(index) as connection:
        encode_batches(connection, start_upgrade(connection, NEW), 1)
        with pytest.raises(SearchIndexError, match="upgrade to the encoders d1d1d1d1d1d1d1d1 is unfinished"):
            start_upgrade(connection, other)
        assert discard_upgrade(connection) == 2
        assert [each.number for each in all_generations(connection)] == [1]
        assert count_items(connection, 1) == Counts(7, 7, 0)
        assert start_upgrade(connection, other).state == "building"


def test_a_damaged_vector_is_not_switched_to(index: Path) -> None:
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        encode_batches(connection, generation, 9)
        connection.execute("UPDATE vectors SET vector = x'0000' WHERE generation = 2 AND item = 4")
        with pytest.raises(SearchIndexError, match="vector of item 4 in generation 2 does not have 3 dimensions"):
            check_whole(connection, generation)


def test_an_empty_index_and_one_without_an_earlier_generation(tmp_path: Path, index: Path) -> None:
    with writing(tmp_path / "empty", create=True) as empty, pytest.raises(SearchIndexError, match="no vectors yet"):
        start_upgrade(empty, NEW)
    with writing(index) as connection, pytest.raises(SearchIndexError, match="no earlier generation"):
        roll_back(connection)


def test_mapped_vectors_are_searched_at_once_and_replaced_one_by_one(index: Path) -> None:
    matrix = np.eye(4, 3, dtype=np.float32)
    bridge = Bridge(matrix, np.zeros(3, np.float32), "ridge", 3, 0.9, 0.8, 3)
    queries = Bank(np.eye(3, dtype=np.float16), np.arange(3, dtype=np.int32))
    calibration = Calibration(NEW.contract, queries, queries, {"text_to_image": Correction(1.0, 1)})
    with writing(index) as connection:
        old, new = current_generation(connection), start_upgrade(connection, NEW)
        sample = sample_to_encode(connection, new.number, 3)
        put_encoded(connection, new, sample, encoded(sample), calibration)
        assert len(sample) == 3 and sample_to_encode(connection, new.number, 3) == []
        before, after = paired_vectors(connection, old, new, 100)
        assert before.shape == (3, 4) and after.shape == (3, 3)
        assert map_the_rest(connection, old, new, bridge, calibration) == 4
        assert count_items(connection, new.number) == Counts(7, 3, 4)
        switch(connection, new)
        mapped = next(id for id in range(1, 8) if id not in {item.id for item in sample})
        vector = read_vectors(connection, [mapped], new.number)[0]
        expected = np.array([mapped - 1, 1, 2]) / np.linalg.norm([mapped - 1, 1, 2])
        np.testing.assert_allclose(vector, expected, atol=1e-3)
        [bias] = connection.execute("SELECT text_bias FROM vectors WHERE generation = 2 AND item = ?", (mapped,))
        assert bias[0] == pytest.approx(expected.max(), abs=1e-3)
        encode_batches(connection, new, 9)
        assert count_items(connection, new.number) == Counts(7, 7, 0)
        assert list(items_to_encode(connection, new.number, 2)) == []
