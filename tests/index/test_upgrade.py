"""Generation N+1 beside N: nothing is lost, nothing mixed, a kill costs one batch, and one call goes back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index.database import reading, transaction, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, all_generations, current_generation, read_encoders
from itembed_tf.index.items import add_source, delete_items, put_items, read_vectors
from itembed_tf.index.lessons import write_lessons
from itembed_tf.index.re_encoding import count_pending, paired_vectors, pending, put_encoded, sample_images
from itembed_tf.index.records import Query
from itembed_tf.index.searcher import open_searcher
from itembed_tf.index.sources import Entry
from itembed_tf.index.upgrade import (
    Counts,
    check_whole,
    count_items,
    discard_upgrade,
    roll_back,
    start_upgrade,
    switch,
)
from itembed_tf.index.vectors import Vector
from tests.support.small_index import CONTRACT, new_item, write_index

NEW = StoredEncoders("d1" * 32, 3, b"new", "{}")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Seven images with vectors of four dimensions."""
    write_index(tmp_path / "i", [new_item(f"{i}.jpg", [i, 1, 2, 3]) for i in range(7)])
    return tmp_path / "i"


def to_encode(connection, generation: int) -> list[int]:
    """Ids of the images of a source that lack a vector."""
    places = [row[0] for row in connection.execute("SELECT place FROM items ORDER BY id")]
    return [each.item for each in pending(connection, generation, [Entry(place, "image", "", "") for place in places])]


def vector(id: int) -> Vector:
    """What the new encoders give: [1, id, 0] at unit length, with a bias of a tenth."""
    return Vector(np.array([1, id, 0], np.float32) / np.hypot(1, id), 0.1, 0.2)


def encode(connection, generation, count: int = 9) -> None:
    put_encoded(connection, generation, {id: vector(id) for id in to_encode(connection, generation.number)[:count]})


def test_the_old_generation_is_searched_until_the_new_one_is_whole(index: Path) -> None:
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        encode(connection, generation, 4)
        assert count_items(connection, generation.number) == Counts(7, 4, 0)
        with pytest.raises(SearchIndexError, match=r"3 items have no vector .* first /photos/4.jpg: they would not"):
            switch(connection, generation)
        assert current_generation(connection).number == 1
    with writing(index) as connection:  # a killed upgrade: the next one goes on where it was
        generation = start_upgrade(connection, NEW)
        assert generation.number == 2
        assert to_encode(connection, 2) == [5, 6, 7] and count_pending(connection, 2) == 3
        encode(connection, generation)
        with closing(reading(index)) as reader:
            assert current_generation(reader).contract == CONTRACT
            switch(connection, generation)
            assert current_generation(reader).contract == NEW.contract
        assert start_upgrade(connection, NEW).state == "current"
        np.testing.assert_allclose(read_vectors(connection, [3], 2)[0], [10**-0.5, 3 * 10**-0.5, 0], atol=1e-3)


def test_one_call_goes_back_and_another_forward(index: Path) -> None:
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        encode(connection, generation)
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
        encode(connection, generation)
        source = add_source(connection, "folder", "/photos")
        changed = new_item("2.jpg", [1, 0, 0, 0], content="changed")
        [id] = put_items(connection, [changed], source=source, generation=1, dimensions=4)
        assert to_encode(connection, 2) == [id]
        same = new_item("3.jpg", [1, 0, 0, 0], stamp="touched")
        put_items(connection, [same], source=source, generation=1, dimensions=4)
        assert count_items(connection, 2) == Counts(7, 6, 0)


def test_an_earlier_generation_goes_when_the_next_upgrade_is_done(index: Path) -> None:
    with writing(index) as connection:
        for encoders in (NEW, StoredEncoders("e2" * 32, 3, b"newer", "{}")):
            generation = start_upgrade(connection, encoders)
            encode(connection, generation)
            switch(connection, generation)
        assert [(each.number, each.state) for each in all_generations(connection)] == [(2, "previous"), (3, "current")]
        assert connection.execute("SELECT count(*) FROM vectors").fetchone()[0] == 14
        assert connection.execute("SELECT count(*) FROM encoders").fetchone()[0] == 2
        roll_back(connection)  # 2 is searched, 3 is kept; an upgrade from there keeps 2
        generation = start_upgrade(connection, StoredEncoders("f3" * 32, 3, b"newest", "{}"))
        encode(connection, generation)
        switch(connection, generation)
        assert [(each.number, each.state) for each in all_generations(connection)] == [(2, "previous"), (4, "current")]


def test_another_upgrade_waits_for_the_first_or_for_its_end(index: Path) -> None:
    other = StoredEncoders("e2" * 32, 3, b"", "{}")
    with writing(index) as connection:
        encode(connection, start_upgrade(connection, NEW), 2)
        with pytest.raises(SearchIndexError, match="upgrade to the encoders d1d1d1d1d1d1d1d1 is unfinished"):
            start_upgrade(connection, other)
        assert discard_upgrade(connection) == 2
        assert [each.number for each in all_generations(connection)] == [1]
        assert count_items(connection, 1) == Counts(7, 7, 0)
        assert start_upgrade(connection, other).state == "building"


def test_a_damaged_vector_is_not_switched_to(index: Path) -> None:
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        encode(connection, generation)
        connection.execute("UPDATE vectors SET vector = x'0000' WHERE generation = 2 AND item = 4")
        with pytest.raises(SearchIndexError, match="vector of item 4 in generation 2 does not have 3 dimensions"):
            check_whole(connection, generation)


def test_an_empty_index_and_one_without_an_earlier_generation(tmp_path: Path, index: Path) -> None:
    with writing(tmp_path / "empty", create=True) as empty, pytest.raises(SearchIndexError, match="no vectors yet"):
        start_upgrade(empty, NEW)
    with writing(index) as connection, pytest.raises(SearchIndexError, match="no earlier generation"):
        roll_back(connection)


def test_pairs_for_a_bridge_are_images_that_both_have_encoded(index: Path) -> None:
    with writing(index) as connection:
        old, new = current_generation(connection), start_upgrade(connection, NEW)
        sample = sample_images(connection, new.number, 3)
        put_encoded(connection, new, {id: vector(id) for id in sample})
        assert len(sample) == 3 and sample_images(connection, new.number, 3) == []
        before, after = paired_vectors(connection, old, new, 100)
        ids = sorted(sample)
        np.testing.assert_allclose(before, read_vectors(connection, ids, 1))
        np.testing.assert_allclose(after, [vector(id).vector for id in ids], atol=1e-3)
        assert len(paired_vectors(connection, old, new, 2)[0]) == 2
        query = "SELECT DISTINCT round(text_bias, 6), round(image_bias, 6) FROM vectors WHERE generation = 2"
        assert connection.execute(query).fetchall() == [(0.1, 0.2)]


def test_an_open_searcher_sees_the_switch_and_the_way_back(index: Path) -> None:
    with closing(open_searcher(index)) as searcher:
        before = searcher.search(Query(like=1, by="vector"))
        with writing(index) as connection:
            generation = start_upgrade(connection, NEW)
            encode(connection, generation)
            assert searcher.search(Query(like=1, by="vector")) == before
            switch(connection, generation)
            after = searcher.search(Query(like=1, by="vector"))
            assert (before.generation, after.generation) == (1, 2)
            # by the new vectors [1, id, 0], item 2 is nearest to item 1, then 3, ...
            assert [hit.item.id for hit in after.hits] == [2, 3, 4, 5, 6, 7]
            cosine = (1 + 1 * 2) / np.sqrt(2 * 5)
            assert after.hits[0].score == pytest.approx(cosine, abs=1e-3)
            roll_back(connection)
        assert searcher.search(Query(like=1, by="vector")) == before


def test_encoders_that_were_taught_names_keep_their_base(index: Path) -> None:
    taught = StoredEncoders("a5" * 32, 4, b"taught", "{}")
    with writing(index) as connection:
        with transaction(connection):
            write_lessons(connection, current_generation(connection), taught, [])
        before = current_generation(connection)
        assert (before.contract, before.image_contract) == (taught.contract, CONTRACT)
        base = StoredEncoders(CONTRACT, 4, b"", "{}")
        assert start_upgrade(connection, base) == before, "its image vectors are those of the base"
        start_upgrade(connection, NEW)
        discard_upgrade(connection)
        assert read_encoders(connection, CONTRACT).contract == CONTRACT
        assert current_generation(connection) == before
