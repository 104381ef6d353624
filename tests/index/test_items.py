"""Items of an index: ids that stay, vectors and thumbnails that follow their content, all or nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index.database import current_revision, reading, snapshot, transaction, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, check_contract, current_generation, start_generation
from itembed_tf.index.items import delete_items, move_items, put_items, read_items, read_vectors
from tests.support.small_index import CONTRACT, new_item, write_index

AXES = np.eye(4, dtype=np.float32)


def texts_matching(connection, query: str) -> list[int]:
    found = connection.execute("SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rowid", (query,))
    return [row[0] for row in found]


def count(connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_an_item_comes_back_as_it_was_added(tmp_path: Path) -> None:
    item = new_item(
        "2019/Köln.jpg",
        [3, 4, 0, 0],
        captions=("a red dog",),
        date="2019-05-01",
        width=4,
        height=3,
        fields={"stars": 5},
    )
    [id] = write_index(tmp_path / "i", [item])
    with closing(reading(tmp_path / "i")) as connection:
        [read] = read_items(connection, [id])
        assert (read.place, read.name, read.folder) == ("/photos/2019/Köln.jpg", "Köln.jpg", "/photos/2019")
        assert (read.captions, read.date, read.width, read.fields) == (("a red dog",), "2019-05-01", 4, {"stars": 5})
        np.testing.assert_allclose(read_vectors(connection, [id], 1), [[0.6, 0.8, 0, 0]], atol=2e-4)
        assert texts_matching(connection, "koln OR RED") == [id], "accents and case do not matter"


def test_an_item_at_the_same_place_keeps_its_id_and_loses_what_it_was(tmp_path: Path) -> None:
    first, other = write_index(tmp_path / "i", [new_item("a.jpg", AXES[0], captions=("dog",)), new_item("b", AXES[1])])
    again = write_index(tmp_path / "i", [new_item("a.jpg", AXES[2], content="f" * 64, captions=("cat",))])
    assert again == [first]
    with closing(reading(tmp_path / "i")) as connection:
        assert (texts_matching(connection, "dog"), texts_matching(connection, "cat")) == ([], [first])
        np.testing.assert_array_equal(read_vectors(connection, [first, other], 1), AXES[[2, 1]])
        assert [tuple(row) for row in connection.execute("SELECT row FROM removed")] == [(1,)]
        assert (count(connection, "vectors"), count(connection, "thumbnails")) == (2, 2)


def test_a_moved_file_keeps_id_vector_and_thumbnail(tmp_path: Path) -> None:
    [id] = write_index(tmp_path / "i", [new_item("old/a.jpg", AXES[0])])
    with writing(tmp_path / "i") as connection:
        moved = new_item("new/b.jpg", AXES[0], content=read_items(connection, [id])[0].content, thumbnail=None)
        move_items(connection, [(id, moved)], source=1)
        assert [item.place for item in read_items(connection, [id])] == ["/photos/new/b.jpg"]
        np.testing.assert_array_equal(read_vectors(connection, [id], 1), AXES[:1])
        assert count(connection, "thumbnails") == count(connection, "items") == 1
        assert (texts_matching(connection, "old"), texts_matching(connection, "new")) == ([], [id])


def test_a_thumbnail_goes_with_the_last_item_of_its_content(tmp_path: Path) -> None:
    ids = write_index(tmp_path / "i", [new_item(name, AXES[0], content="e" * 64) for name in ("a.jpg", "b.jpg")])
    with writing(tmp_path / "i") as connection:
        for left, id in ((1, ids[0]), (0, ids[1])):
            assert delete_items(connection, [id, 999]) == 1
            assert count(connection, "thumbnails") == left
        assert count(connection, "vectors") == count(connection, "texts") == 0
        assert read_items(connection, ids) == []


def test_an_id_is_never_used_again(tmp_path: Path) -> None:
    ids = write_index(tmp_path / "i", [new_item("a.jpg", AXES[0])])
    with writing(tmp_path / "i") as connection:
        delete_items(connection, ids)
    assert write_index(tmp_path / "i", [new_item("b.jpg", AXES[0])]) == [ids[0] + 1]


def test_a_failed_change_leaves_nothing(tmp_path: Path) -> None:
    write_index(tmp_path / "i", [new_item("a.jpg", AXES[0])])
    bad = [new_item("b.jpg", AXES[1]), new_item("c.jpg", AXES[1], fields={"x": object()})]
    with writing(tmp_path / "i") as connection:
        before = current_revision(connection)
        with pytest.raises(TypeError):
            put_items(connection, bad, source=1, generation=1, dimensions=4)
        assert (current_revision(connection), count(connection, "items")) == (before, 1)


@pytest.mark.parametrize(
    ("vector", "message"), [([1, 0, 0], r"b.jpg: a vector of shape \(3,\)"), ([np.nan] * 4, "b.jpg: .* NaN")]
)
def test_vectors_that_cannot_be_searched_are_refused(vector, message, tmp_path: Path) -> None:
    with pytest.raises(SearchIndexError, match=message):
        write_index(tmp_path / "i", [new_item("b.jpg", vector)])


def test_a_reader_sees_one_state_while_another_process_writes(tmp_path: Path) -> None:
    write_index(tmp_path / "i", [new_item("a.jpg", AXES[0])])
    with closing(reading(tmp_path / "i")) as connection:
        with snapshot(connection) as revision:
            write_index(tmp_path / "i", [new_item("b.jpg", AXES[1])])
            assert (count(connection, "items"), current_revision(connection)) == (1, revision)
        assert count(connection, "items") == 2


def test_the_first_generation_is_current_and_a_second_is_built_beside_it(tmp_path: Path) -> None:
    write_index(tmp_path / "i", [new_item("a.jpg", AXES[0])])
    with writing(tmp_path / "i") as connection:
        second = start_generation(connection, StoredEncoders("d0" * 32, 2, b"", "{}"))
        assert (second.number, second.state) == (2, "building")
        current = current_generation(connection)
        assert current is not None and (current.number, current.contract) == (1, CONTRACT)
        with pytest.raises(SearchIndexError, match=r"c0c0c0c0c0c0c0c0, and these encoders have d0d0.*--upgrade"):
            check_contract(current, second.contract)


def test_a_transaction_of_a_reader_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path / "i", [new_item("a.jpg", AXES[0])])
    with (
        closing(reading(tmp_path / "i")) as connection,
        pytest.raises(Exception, match="readonly"),
        transaction(connection),
    ):
        pass
