"""Parquet files with images: cells are read when they are needed, and what is damaged is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itembed_tf.data.readers import Group, TableCell, cells, read_dataset, read_image

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
IMAGES = [f"image {n} ".encode() * 200 for n in range(10)]
CAPTIONS = [f"caption {n}" for n in range(10)]


def write(path: Path, columns: dict[str, Any], **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path, row_group_size=4, **settings)
    return path


def read(root: Path, **settings: str) -> list[Group]:
    return read_dataset(name="folder", root=str(root), splits=("train",), held_out_percent=1, **settings)


def hugging_face(images: list[bytes | None] = IMAGES) -> list[dict[str, Any]]:
    return [{"bytes": data, "path": f"{n}.jpg"} for n, data in enumerate(images)]


@pytest.mark.parametrize(
    ("columns", "caption_column"),
    [
        ({"image": hugging_face(), "text": CAPTIONS}, ""),
        ({"jpg": IMAGES, "key": CAPTIONS, "caption": CAPTIONS, "sha256": CAPTIONS}, ""),
        ({"embedding": IMAGES, "image": IMAGES, "sentences": [[c] for c in CAPTIONS], "n": list(range(10))}, ""),
        ({"image": hugging_face(), "text": CAPTIONS, "label": list(range(10)), "split": [1.5] * 10}, ""),
        ({"photo": IMAGES, "mine": CAPTIONS, "caption": ["no"] * 10}, "mine"),
    ],
)
def test_images_are_cells_of_the_file(columns: dict[str, Any], caption_column: str, tmp_path: Path) -> None:
    write(tmp_path / "part.parquet", columns)
    groups = read(tmp_path, caption_column=caption_column)
    by_caption = {group.captions: group.images[0] for group in groups}
    assert all(isinstance(image, TableCell) for image in by_caption.values())
    assert {captions: read_image(image) for captions, image in by_caption.items()} == {
        (caption,): data for caption, data in zip(CAPTIONS, IMAGES)
    }


@pytest.mark.parametrize("limit", [1, 7_000])
def test_the_memory_of_row_groups_is_bounded(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one byte every row group is read in batches up to the row; with 7,000 one of three is kept."""
    monkeypatch.setattr(cells, "CACHE_BYTES", limit)
    monkeypatch.setattr(cells, "BATCH", 3)
    cells._groups.clear()
    write(tmp_path / "a.parquet", {"image": hugging_face(), "text": CAPTIONS})
    groups = {group.captions[0]: group for group in read(tmp_path)}
    for n in (9, 0, 5, 1, 8, 3):
        assert read_image(groups[CAPTIONS[n]].images[0]) == IMAGES[n]
        assert len(cells._groups) <= 1


def test_splits_of_file_names_and_of_a_column(tmp_path: Path) -> None:
    for name in ("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001"):
        write(tmp_path / "a" / "data" / f"{name}.parquet", {"image": hugging_face(), "text": CAPTIONS})
    groups = read_dataset(name="folder", root=str(tmp_path / "a"))
    assert {(group.id.split("/")[1].split("-")[0], group.split) for group in groups} == {
        ("train", "train"),
        ("validation", "dev"),
        ("test", "test"),
    }
    splits = ["train"] * 8 + ["val", "test"]
    write(tmp_path / "b" / "all.parquet", {"image": hugging_face(), "text": CAPTIONS, "split": splits})
    assert [g.split for g in read_dataset(name="folder", root=str(tmp_path / "b"))].count("train") == 8


def test_a_file_with_paths_is_a_caption_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for n in range(10):
        (tmp_path / "images" / f"{n}.jpg").touch()
    write(tmp_path / "metadata.parquet", {"file_name": [f"images/{n}.jpg" for n in range(10)], "text": CAPTIONS})
    assert read(tmp_path)[3].images == (str(tmp_path / "images/3.jpg"),)


def test_null_captions_are_empty_and_null_images_unreadable(tmp_path: Path) -> None:
    columns = {"image": hugging_face([None, *IMAGES[1:]]), "text": [*CAPTIONS[:9], None]}
    write(tmp_path / "a.parquet", columns)
    with pytest.warns(UserWarning, match="1 captions are empty and ignored, and with them 1 groups"):
        groups = read(tmp_path)
    assert len(groups) == 9
    image = next(group.images[0] for group in groups if group.captions == ("caption 0",))
    with pytest.raises(OSError, match=r"a\.parquet, row 0 of row group 0 has no image in the column 'image\.bytes'"):
        read_image(image)


def test_a_damaged_row_group_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": hugging_face(), "text": CAPTIONS}, compression="gzip")
    column = parquet.ParquetFile(path).metadata.row_group(1).column(2)
    assert column.path_in_schema == "text"
    start = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match=r"1 of 3 row groups are damaged, and left out(.|\n)*row group 1 \(4 rows\)"):
        assert len(read(tmp_path)) == 6


@pytest.mark.parametrize(
    "content", [b"PAR1" + bytes(100), b"<html>", b"", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_what_is_no_parquet_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a\.parquet (is not a complete Parquet file .*download it again|is a Git LFS)"
    ):
        read(tmp_path)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": hugging_face(), "text": CAPTIONS})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a complete Parquet file"):
        read(tmp_path)
