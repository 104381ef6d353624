"""MSCOCO reader: both splits, and the errors of invalid files, on miniature copies."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import Group, coco, read_dataset
from itembed_tf.files import checksum

# (id, folder, Karpathy's split), in the order of his file
IMAGES = [
    (391895, "val2014", "test"),
    (57870, "train2014", "train"),
    (522418, "val2014", "restval"),
    (184613, "val2014", "val"),
    (9, "train2014", "train"),
    (60623, "val2014", "test"),
]
ALL = ("train", "dev", "test")


def file_name(id: int, part: str) -> str:
    return f"COCO_{part}_{id:012d}.jpg"


def captions(id: int) -> list[str]:
    return [f"Caption {i} of {id}.\n" for i in range(6 if id == 9 else 5)]  # some have six, some end in a new line


def karpathy_json() -> dict[str, Any]:
    images = [
        {
            "filepath": part,
            "filename": file_name(id, part),
            "imgid": number,
            "cocoid": id,
            "split": split,
            "sentids": [10 * id + i for i, _ in enumerate(captions(id))],
            "sentences": [
                {"tokens": c.split(), "raw": c, "imgid": number, "sentid": 10 * id + i}
                for i, c in enumerate(captions(id))
            ],
        }
        for number, (id, part, split) in enumerate(IMAGES)
    ]
    return {"images": images, "dataset": "coco"}


def captions_json(part: str) -> dict[str, Any]:
    ids = [id for id, where, _ in IMAGES if where == part]
    annotations = [
        {"image_id": id, "id": 10 * id + i, "caption": c} for id in reversed(ids) for i, c in enumerate(captions(id))
    ]
    images = [{"id": id, "file_name": file_name(id, part), "license": 1, "height": 6, "width": 8} for id in ids]
    return {"info": {}, "images": images, "licenses": [], "annotations": annotations}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    splits = {"train": ("train", "restval"), "dev": ("val",), "test": ("test",)}
    official = {
        ours: checksum(*sorted(file_name(id, part) for id, part, split in IMAGES if split in theirs))
        for ours, theirs in splits.items()
    }
    monkeypatch.setattr(coco, "OFFICIAL", official)
    monkeypatch.setattr(coco, "RANDOM_SIZES", {"test": 1, "dev": 2})
    for part in coco.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"captions_{part}.json").write_text(json.dumps(captions_json(part)))
    for id, part, _ in IMAGES:
        (tmp_path / part / file_name(id, part)).touch()
    (tmp_path / "dataset_coco.json").write_text(json.dumps(karpathy_json()))
    return tmp_path


def read(root: Path, split_by: str, splits: tuple[str, ...] = ALL) -> list[Group]:
    return read_dataset(**arguments(Dataset(name="coco", root=str(root), splits=splits, split_by=split_by)))


def test_karpathys_split_has_restval_in_train_and_keeps_the_file_order(root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = read(root, "karpathy")
    assert [(group.id, group.split) for group in groups] == [
        ("391895", "test"),
        ("57870", "train"),
        ("522418", "train"),
        ("184613", "dev"),
        ("9", "train"),
        ("60623", "test"),
    ]
    assert groups[0].images == (str(root / "val2014" / "COCO_val2014_000000391895.jpg"),)
    assert groups[4].captions == tuple(c.strip() for c in captions(9))
    assert groups[4].caption_ids == (90, 91, 92, 93, 94, 95)


def test_the_random_split_has_the_sizes_of_the_released_code(root: Path) -> None:
    groups = read(root, "random")
    order = [id for part in coco.PARTS for id, where, _ in IMAGES if where == part]
    assert [int(group.id) for group in groups] == order
    test, *dev = np.random.RandomState(1).permutation(6)[:3]
    expected = {order[test]: "test", **{order[i]: "dev" for i in dev}}
    assert {int(group.id): group.split for group in groups if group.split != "train"} == expected
    six = groups[order.index(9)]
    assert (six.captions, six.caption_ids) == (tuple(c.strip() for c in captions(9)), (90, 91, 92, 93, 94, 95))


def test_the_random_split_never_changes() -> None:
    # NumPy guarantees the stream of RandomState
    assert np.random.RandomState(1).permutation(123_287)[:3].tolist() == [80425, 26251, 99013]


def test_of_few_images_a_share_is_held_out_at_least_one_each(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "RANDOM_SIZES", {"test": 5000, "dev": 5000})
    assert sorted(group.split for group in read(root, "random")) == ["dev", "test", *["train"] * 4]
    groups = read_dataset(name="coco", root=str(root), split_by="random", held_out_percent=34)
    assert sorted(group.split for group in groups) == ["dev"] * 2 + ["test"] * 2 + ["train"] * 2


def write_any(root: Path, name: str, ids: range, folder: str) -> None:
    images = [{"id": id, "file_name": f"{id}.tif"} for id in ids]
    annotations = [{"id": id, "image_id": id, "caption": f"{folder} {id}"} for id in ids]
    (root / "annotations").mkdir(exist_ok=True)
    (root / folder).mkdir(exist_ok=True)
    (root / "annotations" / name).write_text(json.dumps({"images": images, "annotations": annotations}))
    for id in ids:
        (root / folder / f"{id}.tif").touch()


def test_the_format_is_read_for_any_images(tmp_path: Path) -> None:
    write_any(tmp_path, "mine.json", range(30), "photos")
    (tmp_path / "annotations" / "boxes.json").write_text(json.dumps({"images": [], "annotations": []}))
    groups = read(tmp_path, "random")
    assert [group.id for group in groups] == [str(id) for id in range(30)]
    assert groups[7].images == (str(tmp_path / "photos" / "7.tif"),) and groups[7].captions == ("photos 7",)
    assert [[g.split for g in groups].count(split) for split in ALL] == [24, 3, 3]


def test_files_that_each_count_from_the_beginning_have_ids_of_their_own(tmp_path: Path) -> None:
    write_any(tmp_path, "a.json", range(4), "photos")
    write_any(tmp_path, "b.json", range(4), "photos")
    (tmp_path / "annotations" / "b.json").write_text(
        (tmp_path / "annotations" / "b.json").read_text().replace(".tif", ".png")
    )
    for id in range(4):
        (tmp_path / "photos" / f"{id}.png").touch()
    assert {group.id for group in read(tmp_path, "random")} == {f"{name}-{id}" for name in "ab" for id in range(4)}


def test_the_folders_of_2017_have_the_same_images(root: Path) -> None:
    """By Karpathy's split the images of 2014 are found under their names of 2017."""
    for part in ("train2017", "val2017"):
        (root / part).mkdir()
    for number, (id, part, _) in enumerate(IMAGES):
        (root / part / file_name(id, part)).rename(
            root / ("val2017" if number == 0 else "train2017") / f"{id:012d}.jpg"
        )
    for part in coco.PARTS:
        (root / part).rmdir()
        (root / "annotations" / f"captions_{part}.json").unlink()
    groups = read(root, "karpathy")
    assert groups[0].images == (str(root / "val2017" / "000000391895.jpg"),)
    assert groups[1].images == (str(root / "train2017" / "000000057870.jpg"),)
    for part, ids in (("train2017", [id for id, _, _ in IMAGES[1:]]), ("val2017", [IMAGES[0][0]])):
        images = [{"id": id, "file_name": f"{id:012d}.jpg"} for id in ids]
        annotations = [
            {"image_id": id, "id": 10 * id + i, "caption": c} for id in ids for i, c in enumerate(captions(id))
        ]
        content = {"images": images, "annotations": annotations}
        (root / "annotations" / f"captions_{part}.json").write_text(json.dumps(content))
    assert [int(group.id) for group in read(root, "random")] == [*(id for id, _, _ in IMAGES[1:]), IMAGES[0][0]]


def test_only_the_folders_of_requested_splits_are_required(root: Path) -> None:
    (root / "train2014").rename(root / "elsewhere")
    assert len(read(root, "karpathy", ("test",))) == 2
    with pytest.raises(FileNotFoundError, match=r"image folder is missing; it must be train2014\..*cocodata"):
        read(root, "karpathy")


def test_caption_files_may_be_in_the_root_folder(root: Path) -> None:
    for part in coco.PARTS:
        (root / "annotations" / f"captions_{part}.json").rename(root / f"captions_{part}.json")
    assert len(read(root, "random")) == 6
    (root / "captions_val2014.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"captions of val2014 is missing; it must be annotations/captions_val"):
        read(root, "random")


def test_a_list_that_is_not_karpathys_warns(root: Path) -> None:
    content = karpathy_json()
    content["images"][2]["split"] = "test"
    (root / "dataset_coco.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=r"not the official list of test \(3 names"):
        read(root, "karpathy", ("test",))


@pytest.mark.filterwarnings("ignore:.*(official|captions)")
def test_all_invalid_entries_of_karpathys_file_are_listed(root: Path) -> None:
    content = karpathy_json()
    content["images"][0]["filepath"] = "test2014"
    content["images"][1]["cocoid"] = "57870"
    content["images"][3]["cocoid"] = 9
    content["images"][5]["sentences"][1]["sentid"] = None
    (root / "dataset_coco.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="4 invalid images") as caught:
        read(root, "karpathy")
    for message in (
        "filepath 'test2014'; it must be train2014 or val2014",
        "cocoid '57870'",
        "duplicates images[3]",
        "sentid",
    ):
        assert message in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*captions")
def test_all_invalid_entries_of_a_caption_file_are_listed(root: Path) -> None:
    content = captions_json("val2014")
    content["annotations"][0]["image_id"] = 12
    content["annotations"][1]["caption"] = None
    content["annotations"][2]["id"] = content["annotations"][3]["id"]
    content["images"][0]["id"] = 522418
    (root / "annotations" / "captions_val2014.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"captions_val2014\.json: \d+ invalid entries") as caught:
        read(root, "random")
    for message in ("image_id '12'", "'None' is not valid text", "a unique integer", "the id 522418 is that of"):
        assert message in str(caught.value)


def test_empty_captions_are_ignored_with_a_warning(root: Path) -> None:
    content = captions_json("train2014")
    content["annotations"][0]["caption"] = " \n"
    (root / "annotations" / "captions_train2014.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="1 captions are empty and ignored"):
        groups = read(root, "random")
    assert sum(len(group.captions) for group in groups) == 30
    assert sorted(len(group.caption_ids) for group in groups) == [5, 5, 5, 5, 5, 5]
