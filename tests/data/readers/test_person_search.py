"""Person search readers: CUHK-PEDES with and without splits, ICFG-PEDES and RSTPReid."""

from __future__ import annotations

import dataclasses
import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data import readers as datasets
from itembed_tf.data.readers import Group, person_search, read_dataset
from itembed_tf.retrieval import retrieval_table

ALL = ("train", "dev", "test")
# identity, split, image; the first and last identities of each split
ENTRIES = [
    (1, "train", "cam_a/000_45.bmp"),
    (1, "train", "cam_b/000_90.bmp"),
    (11003, "train", "train_query/p11600_s14885.jpg"),
    (11004, "val", "CUHK01/0100001.png"),
    (12003, "val", "CUHK03/1.jpg"),
    (12004, "test", "Market/7.jpg"),
    (13003, "test", "test_query/p1.jpg"),
    (13003, "test", "test_query/p2.jpg"),
]
SIZES = {"train": (2, 3, 6), "dev": (2, 2, 4), "test": (2, 3, 6)}


def content(key: str = "file_path", splits: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "id": id,
            key: image,
            "captions": [f"The man in {image} wears a coat.", "He carries a bag."],
            "processed_tokens": [["the", "man"], ["he"]],
            **({"split": split} if splits else {}),
        }
        for id, split, image in ENTRIES
    ]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CUHK_PEDES", "ICFG_PEDES", "RSTPREID"):
        benchmark = dataclasses.replace(getattr(person_search, name), sizes=SIZES)
        key = {"CUHK_PEDES": "cuhk-pedes", "ICFG_PEDES": "icfg-pedes", "RSTPREID": "rstpreid"}[name]
        monkeypatch.setitem(datasets.DATASETS, key, partial(person_search.read, benchmark))
    for _, _, image in ENTRIES:
        (tmp_path / "imgs" / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "imgs" / image).touch()
    write(tmp_path, content())
    return tmp_path


def write(root: Path, entries: Any, name: str = "reid_raw.json") -> None:
    (root / name).write_text(json.dumps(entries))


def read(root: Path, name: str = "cuhk-pedes", splits: tuple[str, ...] = ALL) -> list[Group]:
    return read_dataset(**arguments(Dataset(name=name, root=str(root), splits=splits)))


def test_an_identity_is_one_group_with_all_images_and_captions(root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = {group.label: group for group in read(root)}
    assert {label: group.split for label, group in groups.items()} == {
        "1": "train",
        "11003": "train",
        "11004": "dev",
        "12003": "dev",
        "12004": "test",
        "13003": "test",
    }
    assert groups["1"].images == (str(root / "imgs/cam_a/000_45.bmp"), str(root / "imgs/cam_b/000_90.bmp"))
    assert groups["1"].captions == (
        "The man in cam_a/000_45.bmp wears a coat.",
        "He carries a bag.",
        "The man in cam_b/000_90.bmp wears a coat.",
        "He carries a bag.",  # not deduplicated: the published test split has 6,156 queries, some of them equal
    )


def test_any_image_of_the_identity_is_relevant(root: Path) -> None:
    groups = read(root, splits=("test",))
    images = [(i, g.label) for g in groups for i in g.images]
    captions = [(c, g.label) for g in groups for c in g.captions]
    embeddings = np.eye(3, dtype=np.float32)[[0, 1, 2]]  # the images of 12004, 13003, 13003
    second = np.tile(embeddings[2], (4, 1))  # all captions of 13003 match its second image
    table = retrieval_table(
        embeddings,
        np.concatenate([np.tile(embeddings[0], (2, 1)), second]),
        [own for _, own in images],
        [own for _, own in captions],
    )
    assert table["text_query"]["R@1"] == 100.0


def test_caption_all_without_splits_is_split_by_identity(root: Path) -> None:
    expected = read(root)
    (root / "reid_raw.json").unlink()
    write(root, content(splits=False), "caption_all.json")
    assert read(root) == expected
    write(
        root, [*content(splits=False), {"id": 13004, "file_path": "a.jpg", "captions": ["A man ."]}], "caption_all.json"
    )
    with pytest.raises(
        ValueError, match=r"\[8\]: no split, and the id 13004 is in no split's range \(1 to 11003, 11004 to"
    ):
        read(root)


def test_rstpreid_has_img_path(root: Path) -> None:
    write(root, content(key="img_path"), "data_captions.json")
    assert len(read(root, "rstpreid")) == 6
    write(root, content(), "data_captions.json")
    with pytest.raises(ValueError, match=r'8 invalid entries(.|\n)*"img_path"(.|\n)*use the newest'):
        read(root, "rstpreid")


def test_icfg_has_no_dev_and_identities_are_per_split(root: Path) -> None:
    entries = [entry for entry in content() if entry["split"] != "val"]
    entries[-1]["id"] = entries[-2]["id"] = 1
    write(root, entries, "ICFG-PEDES.json")
    groups = read(root, "icfg-pedes", ("train", "test"))
    assert [(g.id, len(g.images)) for g in groups if g.label == "1"] == [("test-00001", 2), ("train-00001", 2)]
    with pytest.raises(ValueError, match=r"no group in dev(.|\n)*dataset\.splits = \['test', 'train'\]"):
        read(root, "icfg-pedes")


def test_sizes_that_are_not_the_published_ones_warn(root: Path) -> None:
    write(root, content()[1:])
    with pytest.warns(
        UserWarning, match="train has 2 identities, 2 images and 4 captions, not the published 2 identities, 3 "
    ):
        read(root)
    assert person_search.CUHK_PEDES.sizes["train"] == (11003, 34054, 68126)
    assert [sum(n) for n in zip(*person_search.CUHK_PEDES.sizes.values())] == [13003, 40206, 80440]


def test_an_identity_in_two_splits_and_a_image_of_two_identities_are_refused(root: Path) -> None:
    entries = content()
    entries[1]["split"] = "test"
    entries[4]["file_path"] = entries[3]["file_path"]
    write(root, entries)
    with pytest.raises(ValueError) as caught:
        read(root, splits=("train",))
    assert "cam_b/000_90.bmp: identity 1 is in test, but in train in an earlier entry" in str(caught.value)
    assert "CUHK01/0100001.png has identity 12003, but 11004 in an earlier entry" in str(caught.value)


def test_duplicate_images_are_used_once_with_a_warning(root: Path) -> None:
    write(root, [*content(), content()[0]])
    with pytest.warns(UserWarning, match=r"1 images are listed twice"):
        groups = read(root)
    assert sum(len(group.images) for group in groups) == 8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "1"}, "id '1'; it must be an integer >= 0"),
        ({"id": True}, "id 'True'"),
        ({"file_path": "../1.jpg"}, "is outside the folder"),
        ({"captions": "A man."}, "captions must be a list"),
        ({"captions": []}, "no caption"),
        ({"captions": [1]}, "captions must be a list of texts"),
        ({"captions": ["\ud83d"]}, "not valid text"),
        ({"split": "validation"}, "split 'validation'; it must be one of train, val, test"),
    ],
)
def test_invalid_entries_are_listed(root: Path, changed: dict[str, Any], message: str) -> None:
    entries = content()
    entries[2].update(changed)
    write(root, entries)
    with pytest.raises(ValueError, match=r"reid_raw\.json: 1 invalid entries") as caught:
        read(root)
    assert f"[2]: {message}" in str(caught.value) or message in str(caught.value)
    assert "Person-Search-with-Natural-Language-Description" in str(caught.value)


def test_missing_parts_are_named(root: Path) -> None:
    (root / "reid_raw.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"annotation file is missing; it must be reid_raw\.json or caption_all"
    ):
        read(root)
    (root / "imgs").rename(root / "images")
    with pytest.raises(FileNotFoundError, match="image folder is missing; it must be imgs\\."):
        read(root)
