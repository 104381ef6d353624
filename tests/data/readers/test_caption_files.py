"""Which files of a folder have captions."""

from __future__ import annotations

from pathlib import Path

import pytest

from itembed_tf.data.readers.caption_files import find_caption_files, split_of


def find(root: Path, *names: str, captions: str = "") -> dict[str, str]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("image,caption\n")
    return {str(file.path.relative_to(root)): file.split for file in find_caption_files(root, captions, "")}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("captions.csv", "data.csv", "metadata.csv"), {"captions.csv": ""}),
        (("metadata.jsonl", "other.csv", "README.txt"), {"metadata.jsonl": ""}),
        (("anything.tsv", "requirements.txt", "config.json"), {"anything.tsv": ""}),
        (("train.csv", "val.csv", "test.csv"), {"test.csv": "test", "train.csv": "train", "val.csv": "dev"}),
        (
            ("train/metadata.csv", "validation/metadata.csv"),
            {"train/metadata.csv": "train", "validation/metadata.csv": "dev"},
        ),
        (
            (
                "annotations/captions_train2017.json",
                "annotations/captions_val2017.json",
                "annotations/instances_x.json",
            ),
            {"annotations/captions_train2017.json": "train", "annotations/captions_val2017.json": "dev"},
        ),
        (("00000.tar", "00000.parquet", "00000_stats.json"), {"00000.tar": ""}),
        (("00000/a.json", "00000/a.jpg", "00000.parquet", "00000_stats.json"), {}),
        (
            ("data/train-00000-of-00001.parquet", "data/test-0.parquet"),
            {"data/test-0.parquet": "test"} | {"data/train-00000-of-00001.parquet": "train"},
        ),
        (
            ("flickr30k_images/results.csv", "flickr30k_images/flickr30k_images/1.jpg"),
            {"flickr30k_images/results.csv": ""},
        ),
        (("notes.md", "a.jpg", ".hidden.csv"), {}),
        (("table.txt",), {"table.txt": ""}),
        (("Captions.CSV", "a.JPG", "a.TXT"), {"Captions.CSV": ""}),
    ],
)
def test_files_are_found_by_their_names(names: tuple[str, ...], found: dict[str, str], tmp_path: Path) -> None:
    assert find(tmp_path, *names) == found


def test_several_candidates_are_refused_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r'has both captions\.jsonl and captions\.csv; .*dataset\.captions = "captions'
    ):
        find(tmp_path, "captions.csv", "captions.jsonl")
    assert find(tmp_path, captions="captions.jsonl") == {"captions.jsonl": ""}


def test_the_split_of_a_name_is_one_of_its_words() -> None:
    names = ("train", "Flickr_8k.devImages", "captions_val2017", "validation-00000-of-00002", "valid", "training_set")
    assert [split_of(name) for name in names] == ["train", "", "dev", "dev", "dev", "train"]
    assert split_of("train_val") == split_of("latest") == split_of("") == ""
