"""Flickr30k reader: both splits, warnings and errors, on miniature copies."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import Group, flickr30k, read_dataset
from itembed_tf.files import checksum

KARPATHY = {"train": ["1000092795", "10002456"], "dev": ["1018148011"], "test": ["1007129816"]}
ENTITIES = {"train": ["10002456", "1007129816"], "dev": ["1018148011"], "test": ["1000092795"]}
NAMES = sorted(name for names in KARPATHY.values() for name in names)
ALL = ("train", "dev", "test")


def captions(name: str) -> list[str]:
    return [f"Caption {i} of {name} ." for i in range(5)]


def karpathy_json() -> dict[str, Any]:
    images = []
    for split, names in KARPATHY.items():
        for name in names:
            sentences = [
                {"tokens": c.lower().split()[:-1], "raw": c, "imgid": len(images), "sentid": 5 * len(images) + i}
                for i, c in enumerate(captions(name))
            ]
            images.append(
                {
                    "sentids": [s["sentid"] for s in sentences],
                    "imgid": len(images),
                    "sentences": sentences,
                    "split": {"dev": "val"}.get(split, split),
                    "filename": f"{name}.jpg",
                }
            )
    return {"images": images, "dataset": "flickr30k"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete copy with four images and official lists."""
    official = {
        by: {split: checksum(*sorted(f"{n}.jpg" for n in names)) for split, names in lists.items()}
        for by, lists in (("karpathy", KARPATHY), ("entities", ENTITIES))
    }
    monkeypatch.setattr(flickr30k, "OFFICIAL", official)
    (tmp_path / "flickr30k-images").mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 6), "red").save(tmp_path / "flickr30k-images" / f"{name}.jpg")
    (tmp_path / "dataset_flickr30k.json").write_text(json.dumps(karpathy_json()))
    lines = [f"{name}.jpg#{i}\t{caption}\n" for name in NAMES for i, caption in enumerate(captions(name))]
    (tmp_path / "results_20130124.token").write_text("".join(lines))
    for split, names in ENTITIES.items():
        (tmp_path / f"{'val' if split == 'dev' else split}.txt").write_text("".join(f"{name}\n" for name in names))
    return tmp_path


def read(root: Path, split_by: str, splits: tuple[str, ...] = ALL) -> list[Group]:
    return read_dataset(**arguments(Dataset(name="flickr30k", root=str(root), splits=splits, split_by=split_by)))


@pytest.mark.parametrize(("split_by", "lists"), [("karpathy", KARPATHY), ("entities", ENTITIES)])
def test_each_split_has_its_images(root: Path, split_by: str, lists: dict) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = read(root, split_by)
    assert {group.id: group.split for group in groups} == {n: split for split, names in lists.items() for n in names}
    assert all(group.captions == tuple(captions(group.id)) for group in groups)
    assert all(group.images == (str(root / "flickr30k-images" / f"{group.id}.jpg"),) for group in groups)


def test_one_split_needs_no_file_of_the_other(root: Path) -> None:
    (root / "dataset_flickr30k.json").rename(root / "other.json")
    assert len(read(root, "entities")) == 4
    (root / "other.json").rename(root / "dataset_flickr30k.json")
    for name in ("results_20130124.token", "train.txt", "val.txt", "test.txt"):
        (root / name).unlink()
    assert len(read(root, "karpathy")) == 4


def test_the_official_checksums_are_valid() -> None:
    sums = [value for lists in flickr30k.OFFICIAL.values() for value in lists.values()]
    assert len(set(sums)) == 6 and all(len(value) == 64 for value in sums)


def test_a_list_that_is_not_the_official_one_warns(root: Path) -> None:
    (root / "test.txt").write_text("1000092795\n10002456\n")
    (root / "train.txt").write_text("1007129816\n")
    with pytest.warns(UserWarning, match=r"test\.txt is not the official list of test \(2 names"):
        read(root, "entities", ("test",))


def test_images_without_five_captions_warn(root: Path) -> None:
    tokens = root / "results_20130124.token"
    tokens.write_text("".join(tokens.read_text().splitlines(keepends=True)[:-1]))
    with pytest.warns(UserWarning, match=r"1 images do not have 5 captions:\n  1018148011: 4"):
        read(root, "entities")


def test_errors_of_missing_files_say_where_to_get_them(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"'nowhere' is not a folder.*DenotationGraph.*docs/datasets"):
        read(Path("nowhere"), "karpathy")
    (root / "dataset_flickr30k.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Karpathy's file is missing; it must be dataset_flickr30k\.json"):
        read(root, "karpathy")
    (root / "val.txt").unlink()
    assert {group.split for group in read(root, "entities", ("train", "test"))} == {"train", "test"}
    with pytest.raises(FileNotFoundError, match=r"list of dev is missing; it must be val\.txt.*flickr30k_entities"):
        read(root, "entities")
    (root / "flickr30k-images").rename(root / "images")
    with pytest.raises(FileNotFoundError, match=r"image folder is missing; it must be flickr30k-images or"):
        read(root, "entities")


def test_an_empty_image_folder_is_refused_and_missing_images_warn(root: Path) -> None:
    (root / "flickr30k-images" / "10002456.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 of 4 image files are missing(.|\n)*10002456\.jpg"):
        assert len(read(root, "karpathy")) == 4
    for file in (root / "flickr30k-images").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"none of the 4 images exists; the first should be .*1000092795"):
        read(root, "karpathy")


def test_an_image_in_two_lists_is_refused_even_if_one_list_is_not_used(root: Path) -> None:
    (root / "val.txt").write_text("1018148011\n10002456\n")
    with pytest.raises(ValueError, match=r"val\.txt: 10002456 is also in train\.txt"):
        read(root, "entities", ("test",))


@pytest.mark.filterwarnings("ignore:.*official")
def test_all_invalid_entries_are_listed(root: Path) -> None:
    content = karpathy_json()
    content["images"][0]["split"] = "training"
    content["images"][1]["filename"] = "../10002456.jpg"
    content["images"][2]["sentences"] = []
    content["images"][3]["sentences"][0]["raw"] = 7
    content["images"].append({"filename": "x.jpg"})
    (root / "dataset_flickr30k.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="5 invalid images") as caught:
        read(root, "karpathy")
    for message in (
        "images[0]: split 'training'",
        "is outside",
        "images[2]: no caption",
        "'7'",
        "no split and no sent",
    ):
        assert message in str(caught.value)


def test_the_file_of_another_data_set_is_refused(root: Path) -> None:
    (root / "dataset_flickr30k.json").write_text(json.dumps({**karpathy_json(), "dataset": "flickr8k"}))
    with pytest.raises(ValueError, match="belongs to the dataset 'flickr8k'; it must be 'flickr30k'"):
        read(root, "karpathy")


def test_flickr8k_reads_karpathys_json_too(tmp_path: Path) -> None:
    (tmp_path / "Images").mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 6), "red").save(tmp_path / "Images" / f"{name}.jpg")
    (tmp_path / "dataset_flickr8k.json").write_text(json.dumps({**karpathy_json(), "dataset": "flickr8k"}))
    groups = read_dataset(**arguments(Dataset(name="flickr8k", root=str(tmp_path), splits=ALL, split_by="karpathy")))
    assert {group.id: group.split for group in groups} == {n: split for split, own in KARPATHY.items() for n in own}
