"""The data of lessons that an index carries: copied from exports, checked, and said to be missing."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from itembed_tf.export_layout import CONTRACT_FILE, TEACHING_FILE
from itembed_tf.exporting.saved_model_export import copy_teaching_data
from itembed_tf.index.database import reading
from itembed_tf.index.records import Generation
from itembed_tf.index.teaching_data import data_file, load_data, missing_data, store_data
from itembed_tf.index.verify import verify_index
from itembed_tf.teaching import TeachingData, TeachingError, teaching_bytes, write_data
from tests.support.small_index import CONTRACT, new_item, write_index


@pytest.fixture
def exports(teaching: TeachingData, tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / CONTRACT_FILE).write_text(json.dumps({"contract": teaching.contract}))
    write_data(folder, teaching)
    return folder


def test_an_index_takes_the_data_of_exports_and_loads_it(exports: Path, teaching: TeachingData, tmp_path: Path) -> None:
    index, generation = tmp_path / "i", Generation(1, teaching.contract, 16, "current")
    line = missing_data(index, generation)
    assert "i has no data to learn names with" in line and "\n" not in line
    assert store_data(exports, index) and store_data(exports, index)
    assert missing_data(index, generation) == ""
    assert teaching_bytes(load_data(index, generation)) == (exports / TEACHING_FILE).read_bytes()
    (exports / TEACHING_FILE).unlink()
    assert not store_data(exports, index) and missing_data(index, generation) == "", "what it has stays"


def test_data_of_other_encoders_or_damaged_is_not_taken(exports: Path, tmp_path: Path) -> None:
    (exports / CONTRACT_FILE).write_text(json.dumps({"contract": "0" * 64}))
    with pytest.raises(TeachingError, match="of other encoders"):
        store_data(exports, tmp_path / "i")
    assert not (tmp_path / "i").exists()


def test_an_export_of_the_same_encoders_takes_it_and_of_others_has_none(
    exports: Path, teaching: TeachingData, tmp_path: Path
) -> None:
    same = SimpleNamespace(folder=tmp_path, contract=SimpleNamespace(contract=teaching.contract))
    copy_teaching_data(exports, same)
    assert (tmp_path / TEACHING_FILE).read_bytes() == (exports / TEACHING_FILE).read_bytes()
    copy_teaching_data(exports, SimpleNamespace(folder=tmp_path, contract=SimpleNamespace(contract="0" * 64)))
    assert not (tmp_path / TEACHING_FILE).exists(), "that of an earlier version of the export"


def test_damaged_data_is_found_by_verification(tmp_path: Path) -> None:
    index = tmp_path / "i"
    write_index(index, [new_item("dog.jpg", [1, 0, 0, 0])])
    with closing(reading(index)) as connection:
        assert connection.execute("SELECT count(*) FROM lessons").fetchone() == (0,)
    data_file(index, CONTRACT).parent.mkdir()
    data_file(index, CONTRACT).write_bytes(b"PK damaged")
    assert any("cannot be used" in problem and "remove it" in problem for problem in verify_index(index).problems)
