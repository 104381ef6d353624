"""What can be indexed: folders, patterns, tables, sentences, shards; and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from itembed_tf.data.readers import read_image
from itembed_tf.errors import UsageError
from itembed_tf.index.sources import Entry, Listing, Source, find_source, list_source
from tests.support.images import image_bytes


def listed(path: Path | str, **settings: str) -> Listing:
    return list_source(find_source(str(path), settings))


def by_name(listing: Listing) -> dict[str, Entry]:
    return {entry.name: entry for entry in listing.entries}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "in/b.jpg", "in/deep/c.PNG", "note.txt", ".hidden.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(number))
    return tmp_path / "photos"


def test_a_folder_has_the_images_below_it(photos: Path) -> None:
    assert find_source(str(photos)) == Source("folder", str(photos))
    entries = by_name(listed(photos))
    assert sorted(entries) == ["a.png", "b.jpg", "c.PNG"]
    c = entries["c.PNG"]
    assert (c.folder, c.place, c.size) == ("in/deep", str(photos / "in/deep/c.PNG"), len(image_bytes(2)))
    assert c.stamp.startswith(f"{c.size} ")


def test_a_pattern_has_the_images_that_match(photos: Path) -> None:
    assert sorted(by_name(listed(f"{photos}/**/*.png"))) == ["a.png"]
    assert sorted(by_name(listed(f"{photos}/in/*"))) == ["b.jpg"]
    [entry] = listed(photos / "in/b.jpg").entries
    assert entry.place == str(photos / "in/b.jpg")
    odd = photos / "50% [x].png"
    odd.write_bytes(image_bytes(7))
    assert [entry.place for entry in listed(odd).entries] == [str(odd)]


def test_a_name_that_is_not_utf_8_is_a_problem_and_stops_nothing(photos: Path) -> None:
    Path(os.fsdecode(os.fsencode(photos) + b"/\xff.png")).write_bytes(image_bytes(1))
    listing = listed(photos)
    assert len(list(listing.entries)) == 3
    assert listing.problems == [f"{photos}/\\xff.png: the name is not UTF-8; rename it"]


def test_a_table_gives_captions_and_typed_fields(photos: Path) -> None:
    table = photos / "captions.tsv"
    table.write_text(
        "file_name\tcaption\tstars\tcode\tplace\na.png\ta red dog\t5\t007\tRome\n"
        "in/b.jpg\ta cat\t4.5\t012\t\na.png\ta dog\t1\t1\tOslo\n../x.png\tno\t1\t1\t1\n"
    )
    listing = listed(table)
    entries = by_name(listing)
    assert entries["a.png"].captions == ("a red dog", "a dog")
    assert entries["a.png"].fields == {"stars": 5, "code": "007", "place": "Rome"}, "codes keep their zeros"
    assert entries["b.jpg"].fields == {"stars": 4.5, "code": "012"}
    assert entries["b.jpg"].place == str(photos / "in/b.jpg") and entries["b.jpg"].folder == "in"


def test_a_table_without_captions_and_with_missing_files(photos: Path) -> None:
    table = photos / "products.jsonl"
    rows = [{"photo": "a.png", "price": 3, "tags": ["x"]}, {"photo": "none.png", "price": None}]
    table.write_text("\n".join(map(json.dumps, rows)))
    entries = by_name(listed(table))
    assert (entries["a.png"].captions, entries["a.png"].fields) == ((), {"price": 3, "tags": '["x"]'})
    assert entries["none.png"].stamp == "", "a file that is missing has no stamp"


def test_a_parquet_file_with_images_in_its_cells(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = {"image": [{"bytes": image_bytes(n), "path": ""} for n in range(3)], "caption": ["x", "y", None]}
    table["stars"] = [1, 2, 3]
    parquet.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=2)
    entries = list(listed(tmp_path / "t.parquet").entries)
    assert [entry.captions for entry in entries] == [("x",), ("y",), ()]
    assert [entry.fields for entry in entries] == [{"stars": 1}, {"stars": 2}, {"stars": 3}]
    assert entries[2].image is not None and read_image(entries[2].image) == image_bytes(2)
    assert entries[2].place == f"{tmp_path}/t.parquet#2"


def test_sentences_keep_their_place_when_a_line_is_added_above(tmp_path: Path) -> None:
    file = tmp_path / "quotes.txt"
    file.write_text("a red boat\n\na dog\na red boat\n")
    before = {entry.captions: entry for entry in listed(file).entries}
    assert [entry.fields["line"] for entry in before.values()] == [1, 3], "equal sentences are one"
    file.write_text("new\na red boat\n\na dog\n")
    after = {entry.captions: entry for entry in listed(file).entries}
    assert after[("a dog",)].place == before[("a dog",)].place
    assert after[("a dog",)].fields == {"line": 4} and after[("a dog",)].kind == "text"


def test_a_table_of_texts_alone_is_sentences_with_fields(tmp_path: Path) -> None:
    file = tmp_path / "quotes.csv"
    file.write_text("caption,author\na red boat,Ann\na dog,Bo\n")
    assert [(entry.kind, entry.fields["author"]) for entry in listed(file).entries] == [("text", "Ann"), ("text", "Bo")]


def test_columns_can_be_named_and_wrong_names_are_refused(photos: Path) -> None:
    table = photos / "t.csv"
    table.write_text("where,what\na.png,a dog\n")
    assert by_name(listed(table, caption_column="what"))["a.png"].captions == ("a dog",)
    with pytest.raises(UsageError, match=r"has no column 'wat' \(did you mean 'what'\?\); the columns are 'where', 'w"):
        listed(table, caption_column="wat")
    (photos / "n.csv").write_text("x,y\n1,2\n")
    with pytest.raises(UsageError, match="no column is known to hold images or texts; the columns are 'x', 'y'"):
        listed(photos / "n.csv")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "phots",
            r"phots does not exist \(did you mean 'photos'\?\); give a folder, a glob pattern, an image",
        ),
        ("photos/data.bin", "data.bin cannot be indexed; give a folder"),
    ],
)
def test_what_cannot_be_indexed_is_refused(photos: Path, given: str, message: str) -> None:
    (photos / "data.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match=message):
        find_source(str(photos.parent / given))


def test_a_source_that_is_gone_has_no_entries_and_says_why(photos: Path) -> None:
    source = find_source(str(photos))
    photos.rename(photos.parent / "away")
    listing = list_source(source)
    assert not len(listing.entries)
    assert listing.problems == [f"{photos} is not a folder: it was removed, or its disk is not mounted"]
    for kind in ("table", "sentences", "shards", "run"):
        listing = list_source(Source(kind, str(photos / "x")))
        assert "does not exist: it was removed, or its disk is not mounted" in listing.problems[0]


def test_the_dataset_of_shards_and_of_a_run(small_dataset: Path, tmp_path: Path) -> None:
    from itembed_tf.config import load_config
    from itembed_tf.config.dump import dump_config
    from tests.support.small_run import SMALL, dataset_settings

    run = tmp_path / "run"
    run.mkdir()
    (run / "vocabulary.txt").write_text("a\n")
    (run / "config.toml").write_text(dump_config(load_config(None, [*SMALL, *dataset_settings(small_dataset)])))
    assert len(list(listed(run).entries)) == 16
    entries = by_name(listed(run, splits="dev"))
    assert len(entries) == 8 and entries["1.png"].fields == {"id": "1.png", "split": "dev"}
    assert entries["1.png"].place == str(small_dataset / "1.png") and entries["1.png"].captions


def test_shards_have_their_images_with_captions(tmp_path: Path) -> None:
    images = [image_bytes(number) for number in range(3)]
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    shard.write_bytes(b"head" + b"".join(images))
    offsets = [4 + sum(map(len, images[:number])) for number in range(3)]
    parts = [[offset, len(image)] for offset, image in zip(offsets, images)]
    groups = [
        {"id": "x", "label": "", "captions": ["a dog"], "caption_ids": [], "images": parts[:1]},
        {"id": "y", "label": "cat", "captions": ["a cat", "a cat"], "caption_ids": [], "images": parts[1:]},
    ]
    index = {"bytes": shard.stat().st_size, "groups": groups, "skipped": []}
    shard.with_suffix(".json").write_text(json.dumps(index))
    manifest = {"schema": 1, "name": "folder", "split_by": "base", "shards": {"train": 1}}
    (tmp_path / "shards.json").write_text(json.dumps(manifest))
    entries = list(listed(tmp_path).entries)
    assert [entry.name for entry in entries] == ["x", "y, image 1", "y, image 2"]
    assert [entry.captions for entry in entries] == [("a dog",), ("a cat",), ("a cat",)]
    assert entries[2].fields == {"id": "y", "split": "train", "label": "cat"}
    assert entries[1].image is not None and read_image(entries[1].image) == images[1]
    assert entries[1].place == f"{shard}#{offsets[1]}"
