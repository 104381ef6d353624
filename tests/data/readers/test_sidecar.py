"""Captions in text files beside images."""

from __future__ import annotations

from pathlib import Path

import pytest

from itembed_tf.data.readers import Group, read_data, read_dataset
from itembed_tf.data.readers.image_paths import ImageFiles
from itembed_tf.data.readers.sidecar import read_sidecars


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def read(root: Path, **settings: str) -> list[Group]:
    return read_dataset(name="folder", root=str(root), splits=("train",), held_out_percent=1, **settings)


def captions(groups: list[Group]) -> dict[str, tuple[str, ...]]:
    return {group.id: group.captions for group in groups}


def test_each_line_is_a_caption_of_the_image_of_that_name(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"", "a.txt": "a ball\n\na red ball\n", "sub/b.png": b"", "sub/b.png.txt": "\ufeffa cat"})
    with pytest.warns(UserWarning, match=r"1 text files have the name of no single image(.|\n)*README\.txt"):
        groups = read(put(tmp_path, {"README.txt": "hello"}))
    assert captions(groups) == {"a.jpg": ("a ball", "a red ball"), "sub/b.png": ("a cat",)}
    assert groups[0].images == (str(tmp_path / "a.jpg"),)


def test_text_and_images_in_two_folders(tmp_path: Path) -> None:
    put(tmp_path, {"jpg/a.jpg": b"", "text/a.txt": "a ball", "jpg/b.jpg": b"", "text/b.caption": "a cat"})
    assert captions(read(tmp_path)) == {"jpg/a.jpg": ("a ball",), "jpg/b.jpg": ("a cat",)}
    assert captions(read(tmp_path / "text", images=str(tmp_path / "jpg"))) == {
        "a.jpg": ("a ball",),
        "b.jpg": ("a cat",),
    }


def test_folders_of_splits_give_the_split(tmp_path: Path) -> None:
    put(tmp_path, {f"{split}/{n}.jpg": b"" for split in ("train", "val", "test") for n in range(2)})
    put(tmp_path, {f"{split}/{n}.txt": f"{n} {split}" for split in ("train", "val", "test") for n in range(2)})
    data = read_data_of(tmp_path)
    assert {group.captions[0].split()[1]: group.split for group in data} == {
        "train": "train",
        "val": "dev",
        "test": "test",
    }


def read_data_of(root: Path) -> list[Group]:
    return read_dataset(name="folder", root=str(root), splits=("train", "dev", "test"))


def test_an_empty_text_file_is_an_empty_caption_and_a_pointer_an_error(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"", "a.txt": "a ball", "b.jpg": b"", "b.txt": " \n", "c.jpg": b"", "c.txt": "a cat"})
    problems: list[str] = []
    rows = read_sidecars(tmp_path, ImageFiles(tmp_path), "", problems)
    assert [row.captions for row in rows] == [("a ball",), ("",), ("a cat",)] and not problems
    put(tmp_path, {"c.txt": "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"})
    with pytest.raises(ValueError, match=r"c\.txt is a Git LFS pointer: run git lfs pull"):
        read(tmp_path)


def test_boxes_are_no_captions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.txt: neither this nor any other text file has a letter"):
        read(
            put(tmp_path, {"a.jpg": b"", "a.txt": "0 0.5 0.5 0.2 0.3\n", "b.jpg": b"", "b.txt": "1 0.5 0.5 0.2 0.3\n"})
        )


def test_a_folder_without_captions_says_what_to_write(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"", "notes.txt": "some notes"})
    with pytest.raises(
        FileNotFoundError, match=r"no caption file; write captions\.jsonl or captions\.csv, or a text fi"
    ):
        read(tmp_path)
    put(tmp_path, {"captions.xlsx": b"PK", "data.arrow": b""})
    with pytest.raises(
        FileNotFoundError, match=r"Not read: captions\.xlsx \(save it as CSV UTF-8\); data\.arrow \(write"
    ):
        read(tmp_path)


def test_names_of_images_without_a_caption_are_known(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"", "a.txt": "a ball", "b.jpg": b"", "c.heic": b""})
    from itembed_tf.config import arguments
    from itembed_tf.config.schema import Dataset

    settings = Dataset(name="folder", root=str(tmp_path), splits=("train",), held_out_percent=1)
    data = read_data(**arguments(settings))
    assert data.without_caption == ["b.jpg", "c.heic"] and data.images_without_caption == 2
