"""What is written is read back; damaged, swollen and foreign files are refused; biases by kind of item and query."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.retrieval import (
    CALIBRATION_FILE,
    Band,
    Bank,
    Calibration,
    CalibrationError,
    Correction,
    Far,
    read_calibration,
    write_calibration,
)
from itembed_tf.retrieval import calibration as module

EYE = np.eye(3, dtype=np.float16)
CALIBRATION = Calibration(
    contract="c" * 64,
    captions=Bank(EYE, np.array([0, 1, 2], np.int32)),
    images=Bank(EYE[:2], np.array([0, 1], np.int32)),
    corrections={
        "text_to_image": Correction(0.5, 1),
        "image_to_text": Correction(1.0, 2),
        "image_to_image": Correction(0.25, 1),
    },
    bands={"text_to_image": (Band("strong", 0.2, 60, 100), Band("weak", -1.0, 5, 900))},
    far={"text": Far(0.5, 0.01)},
    figures={"text_to_image": {"plain": 100.0, "corrected": 112.5}},
)


def test_it_is_read_back(tmp_path: Path):
    write_calibration(tmp_path, CALIBRATION)
    read = read_calibration(tmp_path, "c" * 64)
    assert read is not None and read.captions.vectors.dtype == np.float16
    np.testing.assert_array_equal(read.captions.vectors, EYE)
    assert read.images.groups.tolist() == [0, 1]
    for name in ("contract", "corrections", "bands", "far", "figures"):
        assert getattr(read, name) == getattr(CALIBRATION, name)
    assert read_calibration(tmp_path / "elsewhere", "c" * 64) is None


def test_biases_by_kind_of_item_and_query():
    vectors = np.array([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0]], np.float32)
    by_text, by_image = CALIBRATION.item_biases(vectors, "image")
    # the second is training image 1: neither its own caption nor itself counts, the next cosine is 0
    np.testing.assert_allclose(by_text, [0.4, 0.0], atol=1e-3)
    np.testing.assert_allclose(by_image, [0.2, 0.0], atol=1e-3)
    by_text, by_image = CALIBRATION.item_biases(vectors, "text")
    np.testing.assert_allclose(by_text, [0, 0])
    np.testing.assert_allclose(by_image, [0.7, 0.5], atol=1e-3)


def test_bands_and_far_queries():
    assert CALIBRATION.band("text_to_image", 0.21) == "strong"
    assert CALIBRATION.band("image_to_text", 0.21) == ""
    queries = np.array([[0.0, 0.9, 0.1], [-0.9, 0.1, 0.3]], np.float32)
    assert CALIBRATION.is_far("text", queries).tolist() == [False, True]
    assert CALIBRATION.is_far("image", queries).tolist() == [False, False]


@pytest.mark.parametrize("damage", ["truncated", "not a zip", "pickle", "no array", "NaN", "other schema"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str):
    file = write_calibration(tmp_path, CALIBRATION)
    arrays = dict(np.load(file))
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "not a zip":
        file.write_bytes(b"no archive")
    elif damage == "pickle":
        np.savez(file, **{**arrays, "captions": np.array([{}], object)})
    elif damage == "no array":
        np.savez(file, **{name: value for name, value in arrays.items() if name != "images"})
    elif damage == "NaN":
        np.savez(file, **{**arrays, "images": np.full((2, 3), np.nan, np.float16)})
    else:
        np.savez(file, **{**arrays, "header": np.array(str(arrays["header"]).replace('"schema": 1', '"schema": 9'))})
    with pytest.raises(CalibrationError, match=f"{CALIBRATION_FILE}.*itembed export"):
        read_calibration(tmp_path, "c" * 64)


def test_another_contract_is_refused(tmp_path: Path):
    write_calibration(tmp_path, CALIBRATION)
    with pytest.raises(CalibrationError, match=f"contract {'c' * 16}, not {'d' * 16}"):
        read_calibration(tmp_path, "d" * 64)


def test_a_small_archive_of_huge_arrays_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", b"0" * 20_000)
    (tmp_path / CALIBRATION_FILE).write_bytes(content.getvalue())
    with pytest.raises(CalibrationError, match="20,000 bytes; the maximum is 10,000"):
        read_calibration(tmp_path, "c" * 64)
