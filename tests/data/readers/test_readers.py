"""Checks for every dataset: names, splits, and images in two groups."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import FilePart, Group, TableCell, image_size, read_dataset
from itembed_tf.data.readers.group import bucket, check_groups


def test_unknown_names_and_splits_are_refused(tmp_path: Path) -> None:
    settings = {"root": str(tmp_path)}
    with pytest.raises(
        ValueError, match="'flickr9k' is unknown; it must be one of openmoji, flickr8k, flickr30k, coco"
    ):
        read_dataset(**arguments(Dataset(name="flickr9k", splits=("train",), **settings)))
    for splits in [(), ("train", "train"), ("val",)]:
        with pytest.raises(ValueError, match=r"dataset\.splits"):
            read_dataset(**arguments(Dataset(name="folder", splits=splits, **settings)))


def test_split_by_must_fit_the_data_set(tmp_path: Path) -> None:
    settings = {"root": str(tmp_path), "splits": ("train",)}
    with pytest.raises(
        ValueError, match="split_by = 'base' is not a split of flickr30k; it must be 'karpathy' or 'ent"
    ):
        read_dataset(**arguments(Dataset(name="flickr30k", split_by="base", **settings)))
    with pytest.raises(ValueError, match="split_by = 'entities' is not a split of cuhk-pedes; it must be 'base'"):
        read_dataset(**arguments(Dataset(name="cuhk-pedes", split_by="entities", **settings)))


def test_all_inconsistent_groups_are_listed() -> None:
    groups = [
        Group("a", ("a.png",), ("x",), "train"),
        Group("b", ("a.png",), ("x",), "test"),
        Group("c", (), ("x",), "train"),
        Group("d", ("d.png",), (" ",), "train"),
        Group("e", ("e.png",), ("x",), "val"),
        Group("e", ("f.png",), ("x",), "train"),
        Group("g", ("g.png",), ("x", "y"), "train", caption_ids=(7,)),
    ]
    with pytest.raises(ValueError) as caught:
        check_groups(groups, "mine")
    text = str(caught.value)
    assert "a.png: in a (train) and in b (test)" in text
    for problem in (
        "c: no image",
        "d: no caption",
        "e: split 'val'",
        "e: duplicate id of two groups",
        "g: 1 caption ids for 2 captions",
    ):
        assert problem in text
    check_groups([groups[0], groups[-2]], "mine")


def test_the_size_of_an_image_is_known_without_reading_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")
    path = str(tmp_path / "a.jpg")
    assert [image_size(image) for image in (path, b"123", FilePart("gone.tar", 7, 4), TableCell(path, 0, 0, "x"))] == [
        5,
        3,
        4,
        5,
    ]
    with pytest.raises(FileNotFoundError):
        image_size(str(tmp_path / "b.jpg"))


def test_bucket_is_the_md5_modulo() -> None:
    assert bucket("1F600", 10) == int(hashlib.md5(b"1F600").hexdigest(), 16) % 10
    # d41d8cd98f00b204e9800998ecf8427e is the MD5 of no bytes; the last hexadecimal digit is 14.
    assert bucket("", 16) == 14
