"""Lessons carried over an upgrade: learned again by the new encoders, or kept with what is wrong, and brought back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itembed_tf.index import upgrading
from itembed_tf.index.build import build_index
from itembed_tf.index.database import reading, transaction, writing
from itembed_tf.index.generations import StoredEncoders, current_generation, start_generation
from itembed_tf.index.items import delete_items
from itembed_tf.index.lessons import read_lessons
from itembed_tf.index.records import Query
from itembed_tf.index.searcher import open_searcher
from itembed_tf.index.sources import find_source
from itembed_tf.index.teaching import teach, unlearn
from itembed_tf.index.teaching_data import data_file
from itembed_tf.index.upgrade import roll_back
from itembed_tf.index.upgrading import Upgraded, upgrade_index
from itembed_tf.teaching import TeachingData, teaching_bytes
from itembed_tf.teaching.learning import Taught
from tests.support.small_teaching import SIZE, packed_encoders, small_teaching

IMAGES = 60
MAPS = {name: np.random.default_rng(seed).normal(size=(8, SIZE)) for seed, name in enumerate(("old", "new"))}


def embed(encoder: str, contents: Sequence[bytes]) -> list[np.ndarray]:
    """Linear maps of the same eight numbers of each image; a bridge can be learned between them."""
    seeds = [int(hashlib.sha256(content).hexdigest()[:8], 16) for content in contents]
    rows = [np.random.default_rng(seed).normal(size=8) @ MAPS[encoder] for seed in seeds]
    return [(row / np.linalg.norm(row)).astype(np.float32) for row in rows]


@pytest.fixture(scope="module")
def new_data() -> TeachingData:
    return small_teaching(seed=2)


@pytest.fixture(scope="module")
def packed(teaching: TeachingData, new_data: TeachingData) -> tuple[StoredEncoders, StoredEncoders]:
    return packed_encoders(teaching), packed_encoders(new_data)


@pytest.fixture(autouse=True)
def recall(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dev of eight random images says nothing; a lesson named "costly" costs the new encoders five points."""

    def measured(data: TeachingData, features: object, taught: Taught | None = None) -> float:
        costly = taught and taught.lessons[-1].name == "costly" and data.image_weights.startswith("2")
        return 20.0 - 5 * bool(costly)

    monkeypatch.setattr("itembed_tf.index.taught_encoders.dev_recall", measured)


@pytest.fixture
def index(teaching: TeachingData, new_data: TeachingData, packed: tuple[StoredEncoders, ...], tmp_path: Path) -> Path:
    """An index of images with two lessons, and the data of lessons of the encoders that it is upgraded to."""
    photos, folder = tmp_path / "photos", tmp_path / "i.index"
    photos.mkdir()
    for i in range(IMAGES):
        Image.new("RGB", (2, 2), (i, 255 - i, 7)).save(photos / f"{i:03}.png")
    with writing(folder, create=True) as connection:
        start_generation(connection, packed[0])
    build_index(folder, [find_source(str(photos))], embed_images=lambda contents: embed("old", contents))
    data_file(folder, teaching.contract).parent.mkdir()
    for data in (teaching, new_data):
        data_file(folder, data.contract).write_bytes(teaching_bytes(data))
    teach(folder, "zorbal", items=[3])
    teach(folder, "costly", items=[5])
    return folder


def upgrade(index: Path, packed: tuple[StoredEncoders, ...], **options) -> Upgraded:
    options = {"embed_images": lambda contents: embed("new", contents), **options}
    return upgrade_index(index, "unused", stored=packed[1], **options)


def lessons(index: Path) -> list[tuple[str, bool]]:
    """Names of the lessons of the encoders that are searched, and whether these have them."""
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
        assert generation is not None
        return [(lesson.name, not lesson.problem) for lesson in read_lessons(connection, generation)]


def found(index: Path, text: str) -> list[int]:
    with closing(open_searcher(index)) as searcher:
        return [hit.item.id for hit in searcher.search(Query(text, by="vector", limit=1, corrected=False)).hits]


def test_lessons_are_learned_again_checked_undone_and_brought_back(
    index: Path, packed: tuple[StoredEncoders, ...], new_data: TeachingData
) -> None:
    lines: list[str] = []
    upgrade(index, packed, report=lines.append)
    assert lines[0] == "lesson 'zorbal': learned by the new encoders"
    assert lines[1].startswith("lesson 'costly': not applied: 'costly' was not learned: R@1 on dev")
    assert lessons(index) == [("zorbal", True), ("costly", False)]
    assert found(index, "zorbal") == [3] and found(index, "costly") == []
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
        assert generation is not None and generation.base == new_data.contract != generation.contract
        zorbal, costly = read_lessons(connection, generation)
    np.testing.assert_allclose(zorbal.vectors[0], embed("new", [_file(index, 2)])[0], atol=1e-3)
    assert unlearn(index, costly.number).name == "costly" and lessons(index) == [("zorbal", True)]
    assert unlearn(index).name == "zorbal" and found(index, "zorbal") == []
    with writing(index) as connection:
        roll_back(connection)
    assert lessons(index) == [("zorbal", True), ("costly", True)]
    assert found(index, "zorbal") == [3] and found(index, "costly") == [5]


def _file(index: Path, number: int) -> bytes:
    return (index.parent / "photos" / f"{number:03}.png").read_bytes()


def test_a_lesson_outlives_its_item_by_the_kept_copy_and_is_named_without(
    index: Path, packed: tuple[StoredEncoders, ...]
) -> None:
    with writing(index) as connection, transaction(connection):
        content = hashlib.sha256(_file(index, 2)).hexdigest()
        connection.execute("INSERT INTO lesson_images VALUES (?, ?)", (content, _file(index, 2)))
    with writing(index) as connection:
        delete_items(connection, [3, 5])
    lines: list[str] = []
    upgrade(index, packed, report=lines.append)
    assert lines[:2] == [
        "lesson 'zorbal': learned by the new encoders",
        "lesson 'costly': not applied: none of its images is in the index any more",
    ]
    assert lessons(index) == [("zorbal", True), ("costly", False)]


def test_without_data_of_the_new_encoders_no_lesson_is_applied_and_none_lost(
    index: Path, packed: tuple[StoredEncoders, ...], new_data: TeachingData
) -> None:
    data_file(index, new_data.contract).unlink()
    upgrade(index, packed, report=lambda line: None)
    assert lessons(index) == [("zorbal", False), ("costly", False)]
    data_file(index, new_data.contract).write_bytes(teaching_bytes(new_data))
    teach(index, "zorbal", items=[4])  # in the place of the lesson that was not applied
    assert lessons(index) == [("costly", False), ("zorbal", True)] and found(index, "zorbal") == [4]


def test_a_killed_upgrade_learns_nothing_twice_and_a_bridge_encodes_what_lessons_show(
    index: Path, packed: tuple[StoredEncoders, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(upgrading, "switch", stop)  # after the lessons, before the index is switched
        with pytest.raises(KeyboardInterrupt):
            upgrade(index, packed, report=lambda line: None, bridge_items=50, least_recall=0)
    assert lessons(index) == [("zorbal", True), ("costly", True)], "still searched by the old encoders"
    with closing(reading(index)) as connection:
        query = "SELECT mapped FROM vectors WHERE generation = 2 AND item IN (3, 5)"
        assert connection.execute(query).fetchall() == [(0,), (0,)]
    lines: list[str] = []
    upgrade(index, packed, report=lines.append)
    assert not [line for line in lines if line.startswith("lesson")]
    assert lessons(index) == [("zorbal", True), ("costly", False)] and found(index, "zorbal") == [3]
