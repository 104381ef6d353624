"""Derived segments: written in step with the database, merged, never used where they do not fit."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index.database import DATABASE, current_revision, reading, snapshot, transaction, writing
from itembed_tf.index.derived import SEAL_ROWS, Range, check_segments, planned
from itembed_tf.index.engines import open_engine, update_derived
from itembed_tf.index.generations import StoredEncoders, current_generation
from itembed_tf.index.items import delete_items
from itembed_tf.index.lessons import write_lessons
from itembed_tf.index.removals import forget_removed
from itembed_tf.index.segments import segments
from itembed_tf.locks import locked_folder
from tests.support.small_index import new_item, write_index

COUNT, DIMENSIONS = 300, 8


def items(first: int, count: int, **fields):
    random = np.random.default_rng(first)
    return [new_item(f"{i}.jpg", random.standard_normal(DIMENSIONS), **fields) for i in range(first, first + count)]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_index(tmp_path / "i", items(0, COUNT, text_bias=0.125), DIMENSIONS)
    return tmp_path / "i"


def chain(index: Path) -> list:
    with closing(reading(index)) as connection, snapshot(connection):
        generation = current_generation(connection)
        assert generation is not None
        return segments(index, connection, generation, current_revision(connection))


def answers(index: Path, k: int = 20):
    """What a new engine finds, and from where."""
    queries = np.random.default_rng(9).standard_normal((5, DIMENSIONS + 2)).astype(np.float32)
    with closing(open_engine(index)) as engine:
        view = engine.refresh()
        return view.search(queries, k), view


def assert_same_without_derived(index: Path) -> None:
    with_files, view = answers(index)
    shutil.move(index / "derived", index.parent / "aside")
    without, _ = answers(index)
    shutil.move(index.parent / "aside", index / "derived")
    assert view.sealed
    np.testing.assert_array_equal(with_files[0], without[0])
    np.testing.assert_array_equal(with_files[1], without[1], err_msg="the scores are the same bits")


def test_a_search_is_the_same_with_derived_files_and_without(index: Path) -> None:
    assert len(update_derived(index, everything=True)) == 1
    assert_same_without_derived(index)
    write_index(index, [*items(1000, 20), *items(5, 1)], DIMENSIONS)
    with writing(index) as connection:
        delete_items(connection, range(20, 60))
    assert_same_without_derived(index)
    assert check_segments(index) == []


def test_few_new_rows_are_not_sealed(index: Path) -> None:
    assert update_derived(index) == []
    assert not (index / "derived").exists()


def test_segments_are_merged_and_what_is_not_needed_is_removed(index: Path) -> None:
    update_derived(index, everything=True)
    write_index(index, items(1000, 50), DIMENSIONS)
    update_derived(index, everything=True)
    assert [s.stamp.count for s in chain(index)] == [300, 50]
    write_index(index, items(2000, 40), DIMENSIONS)
    update_derived(index, everything=True)
    assert [s.stamp.count for s in chain(index)] == [390], "90 rows take the 300 before them along"
    assert len(list((index / "derived" / "1").iterdir())) == 1
    assert_same_without_derived(index)


def test_a_segment_that_lost_many_rows_is_written_again(index: Path) -> None:
    update_derived(index, everything=True)
    for removed, count in ((70, 300), (100, 200)):
        with writing(index) as connection:
            delete_items(connection, range(1, removed + 1))
        update_derived(index)
        assert [s.stamp.count for s in chain(index)] == [count]
    assert_same_without_derived(index)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "stamp.json").write_text("{}"),
        lambda folder: (folder / "stamp.json").unlink(),
        lambda folder: (folder / "vectors.npy").write_bytes((folder / "vectors.npy").read_bytes()[:-1]),
        lambda folder: (folder / "items.npy").write_bytes(bytes((folder / "items.npy").stat().st_size)),
        lambda folder: (folder / "rows.npy").unlink(),
    ],
)
def test_a_damaged_segment_is_not_used_and_is_replaced(damage, index: Path) -> None:
    [folder] = update_derived(index, everything=True)
    expected, _ = answers(index)
    damage(folder)
    found, view = answers(index)
    assert view.sealed == ()
    np.testing.assert_array_equal(found[0], expected[0])
    update_derived(index, everything=True)
    assert answers(index)[1].in_memory == 0


@pytest.mark.parametrize("change", [{"contract": "d0" * 32}, {"revision": 10**6}, {"generation": 7}, {"index": "x"}])
def test_a_segment_of_something_else_is_not_used(change, index: Path) -> None:
    [folder] = update_derived(index, everything=True)
    stamp = json.loads((folder / "stamp.json").read_text())
    (folder / "stamp.json").write_text(json.dumps({**stamp, **change}))
    assert answers(index)[1].sealed == ()


def test_segments_of_a_database_that_was_replaced_are_not_used(index: Path, tmp_path: Path) -> None:
    """A backup is restored and grows again: the same row numbers have other vectors now."""
    with closing(reading(index)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "backup.sqlite"),))
    write_index(index, items(1000, 100), DIMENSIONS)
    update_derived(index, everything=True)
    for file in index.glob(f"{DATABASE}*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.sqlite", index / DATABASE)
    for first in range(2000, 2120, 20):
        write_index(index, items(first, 20), DIMENSIONS)
    assert answers(index)[1].sealed == ()


def test_segments_are_used_after_the_table_of_removals_was_emptied(index: Path) -> None:
    update_derived(index, everything=True)
    with writing(index) as connection:
        delete_items(connection, range(1, 40))
        with transaction(connection):
            forget_removed(connection)
        delete_items(connection, [50])
    assert answers(index)[1].count == COUNT - 40
    assert_same_without_derived(index)


def test_an_open_engine_takes_new_segments_and_frees_its_memory(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itembed_tf.index.engines.local.SEAL_ROWS", 100)
    with closing(open_engine(index)) as engine:
        assert engine.refresh().in_memory == COUNT
        update_derived(index, everything=True)
        assert (engine.refresh().in_memory, engine.refresh().count) == (0, COUNT)


def test_a_reader_has_files_written_that_lag_far_behind(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("engines.local.SEAL_ROWS", "engines.local.LAGGING", "derived.SEAL_ROWS"):
        monkeypatch.setattr(f"itembed_tf.index.{name}", 100)
    with closing(open_engine(index)) as engine:
        assert engine.refresh().count == COUNT
        engine._writer.join()
        assert engine.refresh().in_memory == 0


def test_a_search_goes_on_where_derived_files_cannot_be_written(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("engines.local.SEAL_ROWS", "engines.local.LAGGING", "derived.SEAL_ROWS"):
        monkeypatch.setattr(f"itembed_tf.index.{name}", 100)
    with locked_folder(index / "derived" / "1", instead="wait"), closing(open_engine(index)) as engine:
        assert engine.refresh().count == COUNT
        engine._writer.join()
        assert engine.refresh().in_memory == COUNT


def test_files_of_a_generation_that_is_gone_are_removed(index: Path) -> None:
    (index / "derived" / "7").mkdir(parents=True)
    update_derived(index, everything=True)
    assert [folder.name for folder in (index / "derived").iterdir()] == ["1"]


def test_check_compares_every_row(index: Path) -> None:
    [folder] = update_derived(index, everything=True)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r+")
    vectors[7, 3] += 0.5  # not among the samples
    vectors.flush()
    stamp = json.loads((folder / "stamp.json").read_text())
    stamp["files"]["vectors.npy"] = _described(folder / "vectors.npy")
    (folder / "stamp.json").write_text(json.dumps(stamp))
    [problem] = check_segments(index)
    assert "differs from 1 vectors of the index, the first is row 8" in problem
    (folder / "stamp.json").unlink()
    [problem] = check_segments(index)
    assert "does not fit the index, and is not used" in problem


def _described(file: Path):
    from itembed_tf.index.segments import _described as described

    return described(file)


def test_the_plan_writes_each_row_a_few_times_only() -> None:
    have: list[Range] = []
    written, last = 0, 0
    for _ in range(200):
        new = Range(last, last + SEAL_ROWS, SEAL_ROWS, sealed=False)
        last += SEAL_ROWS
        have = planned(have, new, lambda rows: False)
        written += sum(r.alive for r in have if not r.sealed)
        have = [Range(r.after, r.last, r.alive) for r in have]
        assert len(have) <= 5
        assert [r.after for r in have] == [0, *(r.last for r in have[:-1])]
    assert written < 10 * last


def test_a_segment_gets_its_approximate_index_when_it_should_have_one() -> None:
    have = [Range(0, 100, 90, 10), Range(100, 120, 20, approximate=True)]
    plan = planned(have, Range(120, 120, 0, sealed=False), lambda rows: rows > 10)
    assert [(r.after, r.last, r.sealed) for r in plan] == [(0, 100, False), (100, 120, True)]


def test_a_folder_that_is_read_only_is_searched(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = answers(index)
    for name in ("engines.local.SEAL_ROWS", "engines.local.LAGGING", "derived.SEAL_ROWS"):
        monkeypatch.setattr(f"itembed_tf.index.{name}", 100)

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("itembed_tf.index.derived.locked_folder", refused)  # root may write everywhere
    found, view = answers(index)
    np.testing.assert_array_equal(found[0], expected[0])
    assert view.sealed == ()


def test_segments_are_used_after_the_text_encoder_was_taught_a_name(index: Path) -> None:
    update_derived(index, everything=True)
    with writing(index) as connection:
        generation = current_generation(connection)
        assert generation is not None
        with transaction(connection):
            write_lessons(connection, generation, StoredEncoders("e0" * 32, DIMENSIONS, b"taught", "{}"), [])
        assert current_generation(connection) != generation
    assert_same_without_derived(index)
