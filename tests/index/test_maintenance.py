"""Upkeep of an index: deletion, compaction, verification, export."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fake_encoder import FakeEncoder, empty_index, fake_vector
from itembed_tf.errors import UsageError
from itembed_tf.index.build import build_index
from itembed_tf.index.database import DATABASE, reading, writing
from itembed_tf.index.engines import open_engine
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.export_items import export_items
from itembed_tf.index.items import delete_items
from itembed_tf.index.maintenance import compact, delete_matching
from itembed_tf.index.sources import find_source
from itembed_tf.index.verify import verify_index
from tests.support.images import image_bytes


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Six images, photos/0.png to photos/2/5.png, with captions."""
    photos = tmp_path / "photos"
    rows = ["image,caption,stars"]
    for number in range(6):
        path = photos / (f"{number}.png" if number < 3 else f"2/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(number))
        rows.append(f"{path.relative_to(photos)},caption {number},{number}")
    (photos / "captions.csv").write_text("\n".join(rows))
    build_index(empty_index(tmp_path / "i"), [find_source(str(photos / "captions.csv"))], embed_images=FakeEncoder())
    return tmp_path / "i"


def names(index: Path) -> list[str]:
    with closing(reading(index)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM items ORDER BY id")]


def again(index: Path, **options: bool) -> int:
    return build_index(index, embed_images=FakeEncoder(), **options).items


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("photos/0.png", 5),
        ("photos/2", 3),
        ("photos/*.png", 0),
        ("*/[01].png", 4),
        ("*/2/3.*", 5),
    ],
)
def test_items_are_deleted_by_path_folder_or_pattern_and_stay_out(
    index: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, left: int
) -> None:
    monkeypatch.chdir(index.parent)
    assert delete_matching(index, [pattern]) == 6 - left
    assert len(names(index)) == left
    assert again(index) == left, "their files are there, and stay out of the index"
    assert again(index, retry=True) == 6


def test_a_source_that_is_deleted_is_not_looked_at_again(index: Path) -> None:
    assert delete_matching(index, [str(index.parent / "photos/captions.csv")]) == 6
    assert again(index) == 0
    assert names(index) == []


def test_a_pattern_without_a_match_deletes_nothing(index: Path) -> None:
    with pytest.raises(SearchIndexError, match=r"no item of .* matches '.*nosuch.png'; give the place of an item"):
        delete_matching(index, [str(index.parent / "photos/0.png"), "nosuch.png"])
    assert len(names(index)) == 6


def test_compaction_keeps_all_that_is_left_and_readers_follow(index: Path) -> None:
    engine = open_engine(index, "exact")
    engine.refresh()
    with writing(index) as connection:
        delete_items(connection, [1, 2, 3])
    done = compact(index)
    assert done.removed == 3 and done.after <= done.before
    assert names(index) == ["3.png", "4.png", "5.png"]
    view = engine.refresh()  # it is older than the table `removed`
    query = np.concatenate([fake_vector(image_bytes(0)), [0, 0]])[None].astype(np.float32)
    assert sorted(view.search(query, 6)[0][0].tolist()) == [-1, -1, -1, 4, 5, 6]
    engine.close()
    assert problems(index) == []


def problems(index: Path) -> list[str]:
    """What is wrong with an index, but for its fake encoders."""
    found = verify_index(index).problems
    return [problem for problem in found if "encoder" not in problem]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("DELETE FROM vectors WHERE item = 2", "1 items have no vector (items 2)"),
        ("UPDATE vectors SET vector = zeroblob(16) WHERE item = 2", "1 vectors are not of unit length (items 2)"),
        ("UPDATE vectors SET vector = zeroblob(8) WHERE item = 2", "1 vectors of generation 1 do not have its dim"),
        ("UPDATE items SET name = 'x' WHERE id = 3", "the full-text index does not fit 1 items (items 3)"),
        ("DELETE FROM texts WHERE rowid = 3", "the full-text index does not fit 1 items (items 3)"),
        ("INSERT INTO thumbnails VALUES ('00', x'01')", "1 thumbnails belong to no item"),
        ("UPDATE thumbnails SET image = x''", "6 thumbnails are empty"),
        ("INSERT INTO removed VALUES (1, 1, 1)", "1 vectors count as removed"),
        ("UPDATE generations SET state = 'previous'", "0 generations are current"),
        ("UPDATE items SET source = 9 WHERE id = 1", "1 rows of items refer to rows that do not exist"),
    ],
)
def test_damage_is_found_and_comes_with_what_to_do(index: Path, damage: str, found: str) -> None:
    assert problems(index) == []
    with closing(sqlite3.connect(index / DATABASE)) as connection:
        connection.execute(damage)
        connection.commit()
    assert any(problem.startswith(found) for problem in problems(index)), problems(index)


def test_a_damaged_page_is_found(index: Path) -> None:
    compact(index)
    file = index / DATABASE
    data = bytearray(file.read_bytes())
    middle = len(data) // 2 // 8192 * 8192
    data[middle : middle + 4096] = b"\xff" * 4096
    file.write_bytes(data)
    [problem, *_] = problems(index)
    assert problem.startswith("the database is damaged (")
    assert "restore it from a backup, or rebuild the index with `itembed index" in problem


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_an_export_has_items_fields_and_vectors(index: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"out{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    assert export_items(index, file) == 6
    if suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        captions = [json.loads(text) for text in columns["captions"]]
        assert str(columns["contract"]) == "fa" * 32
    else:
        from pyarrow import parquet

        table = parquet.read_table(file)
        columns = {name: table[name].to_pylist() for name in table.column_names}
        captions = columns["captions"]
        assert table.schema.metadata[b"itembed_contract"] == b"fa" * 32
    assert captions[4] == ["caption 4"] and json.loads(columns["fields"][4]) == {"stars": 4}
    assert columns["name"][4] == "4.png" and columns["id"][4] == 5
    np.testing.assert_allclose(np.array(columns["vector"][4], np.float32), fake_vector(image_bytes(4)), atol=1e-3)


def test_an_export_of_another_ending_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end with .parquet or .npz"):
        export_items(index, tmp_path / "out.csv")
