"""Features from a .npy file: order, dtypes, ids that fit, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itembed_tf.data.feature_file import FeatureFileError, feature_width, read_features
from itembed_tf.data.readers import Group, image_ids


@pytest.fixture(autouse=True)
def own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path / "cache"))


def write(folder: Path, rows: np.ndarray, ids: str = "a\nb\nc\n") -> Path:
    np.save(folder / "x.npy", rows)
    (folder / "x.txt").write_text(ids, encoding="utf-8")
    return folder / "x.npy"


def test_an_image_has_the_id_of_its_group_or_a_number_in_it() -> None:
    groups = [Group("g", ("1.jpg",), ("c",), "train"), Group("h", ("2.jpg", "3.jpg"), ("c",), "dev")]
    assert image_ids(groups) == ["g", "h#1", "h#2"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_come_in_the_order_of_the_images(tmp_path: Path, dtype: type[np.floating]) -> None:
    file = write(tmp_path, np.arange(6).reshape(3, 2).astype(dtype))
    rows = read_features(file, ["c", "a"])
    assert rows.dtype == np.float32 and isinstance(rows, np.memmap)
    assert rows.tolist() == [[4, 5], [0, 1]] and feature_width(file) == 2


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path, np.zeros((3, 2), np.float32))
    read_features(file, ["a"])
    np.save(file, np.ones((3, 2), np.float32))
    assert read_features(file, ["a"]).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("rows", "ids", "message"),
    [
        (np.zeros((3, 2), np.float64), "a\nb\nc\n", "float64"),
        (np.zeros(3, np.float32), "a\nb\nc\n", "must be float32 or float16"),
        (np.zeros((3, 2), np.float32), "a\nb\n", "2 ids, and the .npy file beside it 3 rows"),
        (np.zeros((3, 2), np.float32), "a\nb\na\n", "there twice: 'a'"),
        (np.zeros((3, 2), np.float32), "a\nb\nd\n", "lacks 1 of 2 images of the dataset: c. Its ids are like a"),
        (np.array([[0, 1], [0, 0], [0, np.nan]], np.float32), "a\nb\nc\n", "the features of c"),
        (np.array([[object()]]), "a\n", "is damaged or no .npy file"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, rows: np.ndarray, ids: str, message: str) -> None:
    file = write(tmp_path, rows, ids)
    with pytest.raises(FeatureFileError, match=message):
        read_features(file, ["a", "c"] if len(rows) > 1 else ["a"])
