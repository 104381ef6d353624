"""Folder reader: both caption files, labels, splits, what was not used, and errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import Group, read_data, read_dataset
from itembed_tf.data.summary import format_counts


def read(root: Path, splits: tuple[str, ...] = ("train",), held_out_percent: int = 10) -> list[Group]:
    return read_dataset(
        **arguments(Dataset(name="folder", root=str(root), splits=splits, held_out_percent=held_out_percent))
    )


def write_csv(root: Path, text: str) -> Path:
    (root / "captions.csv").write_text(text, encoding="utf-8")
    return root


def write_jsonl(root: Path, *rows: dict[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (root / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_csv_and_jsonl_are_equivalent(tmp_path: Path) -> None:
    first, second = tmp_path / "csv", tmp_path / "jsonl"
    for root in (first, second):
        (root / "cats").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(root / "cats" / "tom.png")
    table = 'cats/tom.png, a grey cat ,train\n./cats/tom.png,"Tom, asleep",train\nb.png,ein Käfer,val\n'
    write_csv(first, "\ufeffimage,caption,split\n" + table)
    tom = {"image": "cats/tom.png", "captions": ["a grey cat", "Tom, asleep"], "split": "train"}
    write_jsonl(second, tom, "", {"image": "b.png", "caption": "ein Käfer", "split": "validation"})
    for root in (first, second):
        cat, beetle = sorted(read(root, ("train", "dev")), key=lambda group: group.split, reverse=True)
        assert (cat.id, cat.captions, cat.split) == ("cats/tom.png", ("a grey cat", "Tom, asleep"), "train")
        assert cat.images == (str(root / "cats" / "tom.png"),) and Path(cat.images[0]).is_file()
        assert (beetle.captions, beetle.split, beetle.label) == (("ein Käfer",), "dev", "")


def test_images_with_one_label_are_one_group(tmp_path: Path) -> None:
    rows = "p1/a.png,a red shirt,ann\np1/b.png,she wears red,ann\np2/a.png,a blue coat,bob\nc.png,a tree,\n"
    groups = read(write_csv(tmp_path, "image,caption,label\n" + rows), held_out_percent=1)
    ann = next(group for group in groups if group.label == "ann")
    assert ann.images == (str(tmp_path / "p1/a.png"), str(tmp_path / "p1/b.png"))
    assert ann.captions == ("a red shirt", "she wears red")
    assert [group.id for group in groups] == ["c.png", "label:ann", "label:bob"]


def test_the_split_depends_on_the_id_alone(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "caption": f"number {i}"} for i in range(1000)]
    groups = read(write_jsonl(tmp_path, *rows), ("train", "dev", "test"), 20)
    split_of = {group.id: group.split for group in groups}
    sizes = {split: list(split_of.values()).count(split) for split in ("train", "dev", "test")}
    assert sum(sizes.values()) == 1000
    assert abs(sizes["dev"] - 200) < 50 and abs(sizes["test"] - 200) < 50
    half = read(write_jsonl(tmp_path, *reversed(rows[:500])), ("train", "dev", "test"), 20)
    assert {group.id: group.split for group in half}.items() <= split_of.items()


def test_all_invalid_lines_are_listed(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path,
        {"image": "good.png", "caption": "fine"},
        {"image": "/etc/a.png", "caption": "x"},
        {"image": "a/../../b.png", "caption": "x"},
        {"image": "C:/b.png", "caption": "x"},
        {"caption": "x"},
        {"image": "f.png"},
        {"image": "h.png", "caption": "x", "split": "training"},
        {"image": "i.png", "caption": 3},
        {"image": 7, "caption": "x"},
        "{'image': 'j.png'}",
        "[1]",
        {"image": "k.png", "caption": "x", "label": 0},
        '{"image": "l.png", "caption": "a lone surrogate \\ud83d"}',
        {"image": "https://a.b/c.png", "caption": "x"},
    )
    with pytest.raises(ValueError) as caught:
        read(tmp_path)
    text = str(caught.value)
    assert "captions.jsonl" in text and "line 1:" not in text
    assert [number for number in range(2, 15) if f"line {number}:" not in text] == []
    for problem in (
        "outside the folder",
        "no image",
        "no caption",
        "'training'",
        "not valid JSON",
        "is a web address",
    ):
        assert problem in text


def test_one_fault_of_all_lines_is_reported_once(tmp_path: Path) -> None:
    write_csv(tmp_path, "image,caption\n" + "x.png,red, green\n" * 40_000)
    with pytest.raises(
        ValueError, match=r"40,000 invalid lines:\n  line 2: 3 columns.*\n  \.\.\. and 39,999 more lines"
    ):
        read(tmp_path)
    write_csv(tmp_path, "id,words\n" + "1,red\n" * 40_000)
    with pytest.raises(
        ValueError, match=r"no column is known to hold the image; the columns are 'id', 'words'"
    ) as caught:
        read(tmp_path)
    assert len(str(caught.value)) < 600


def test_captions_that_an_image_has_already_are_ignored_with_a_warning(tmp_path: Path) -> None:
    write_csv(tmp_path, "image,caption\na.png,red\nb.png,red\na.png,blue\na.png,red\n")
    with pytest.warns(
        UserWarning, match=r"1 captions that an image has already.*\n  line 5: the caption of a\.png dupl.*2"
    ):
        groups = read(tmp_path, held_out_percent=1)
    assert {group.id: group.captions for group in groups} == {"a.png": ("red", "blue"), "b.png": ("red",)}


def test_empty_captions_are_left_out_and_listed(tmp_path: Path) -> None:
    write_csv(tmp_path, "image,caption\na.png,red\na.png,\nb.png,  \nc.png,blue\n")
    settings = arguments(Dataset(name="folder", root=str(tmp_path), splits=("train",), held_out_percent=1))
    with pytest.warns(
        UserWarning, match=r"2 captions are empty and ignored, and with them 1 groups .*\n  a\.png\n  b\.png"
    ):
        data = read_data(**settings)
    assert [group.id for group in data.groups] == ["a.png", "c.png"]
    assert [(each.group, each.split) for each in data.empty_captions] == [("a.png", "train"), ("b.png", "train")]
    write_csv(tmp_path, "image,caption\n" + "x.png,\n" * 50)
    with pytest.raises(ValueError, match="has no captions; write at least one line for each image"):
        read(tmp_path)


def test_unknown_columns_are_ignored_with_one_warning(tmp_path: Path) -> None:
    write_csv(tmp_path, "image,caption,colour\n" + "".join(f"{n}.png,x,red\n" for n in range(20)))
    with pytest.warns(UserWarning) as caught:
        assert read(tmp_path)
    assert sum("'colour'" in str(each.message) for each in caught) == 1


def test_settings_name_the_file_the_columns_and_the_folder_of_images(tmp_path: Path) -> None:
    text, images = tmp_path / "text", tmp_path / "images"
    text.mkdir()
    images.mkdir()
    (images / "a.png").touch()
    (text / "mine.dat.csv").write_text("id,pic,thumb,words\n1,a,t,red\n")
    (text / "other.csv").write_text("image,caption\nb.png,blue\n")
    with pytest.raises(
        ValueError, match=r"has both mine\.dat\.csv and other\.csv; keep only one.*dataset\.captions = "
    ):
        read(text)
    named = {"captions": "mine.dat.csv", "image_column": "pic", "caption_column": "words"}
    for folder in (str(images), "../images"):
        (group,) = read_dataset(
            name="folder", root=str(text), splits=("train",), held_out_percent=1, images=folder, **named
        )
        assert group.captions == ("red",) and Path(str(group.images[0])).resolve() == images / "a.png"
    with pytest.raises(FileNotFoundError, match=r"dataset\.captions = 'gone\.csv'"):
        read_dataset(name="folder", root=str(text), captions="gone.csv")
    with pytest.raises(FileNotFoundError, match=r"dataset\.images = 'gone'"):
        read_dataset(name="folder", root=str(text), images="gone", **named)


def test_csv_with_an_unquoted_comma(tmp_path: Path) -> None:
    write_csv(tmp_path, "image,caption\n\nb.png,red, green\n")
    with pytest.raises(ValueError, match=r"line 3: 3 columns instead of 2.*quotation marks"):
        read(tmp_path)


def test_an_unclosed_quotation_mark_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path, 'image,caption\na.png,"open\nb.png,lost\nc.png,closed"\nd.png,\n')
    with pytest.raises(ValueError, match=r"1 invalid lines:\n  line 2: a quotation mark is not closed before line 4"):
        read(tmp_path)
    write_csv(tmp_path, 'image,caption\na.png,"open\nb.png,lost\n')
    with pytest.raises(ValueError, match="is not valid CSV"):
        read(tmp_path)
    write_csv(tmp_path, 'image,caption\na.png,"a ""red"" car, parked"\n')
    assert read(tmp_path, held_out_percent=1)[0].captions == ('a "red" car, parked',)


def test_the_examples_of_the_page_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "your_images.md").read_text(encoding="utf-8")
    blocks = {kind: re.findall(f"```{kind}\n(.*?)```", page, flags=re.DOTALL) for kind in ("csv", "json")}
    csv_root, json_root, labels = (tmp_path / name for name in ("csv", "json", "labels"))
    for root in (csv_root, json_root, labels):
        root.mkdir()
    write_csv(csv_root, blocks["csv"][0])
    write_jsonl(json_root, blocks["json"][0])
    found = [[(group.id, group.captions) for group in read(root, held_out_percent=1)] for root in (csv_root, json_root)]
    assert found[0] == found[1] and [id for id, _ in found[0]] == ["beach.jpg", "holidays/lake.png"]
    assert [group.label for group in read(write_csv(labels, blocks["csv"][1]), held_out_percent=1)] == [
        "coat 17",
        "hat 23",
    ]


def test_an_image_or_label_in_two_splits_is_refused(tmp_path: Path) -> None:
    rows = "a.png,x,train,\na.png,y,test,\nb.png,x,train,ann\nc.png,x,dev,ann\nd.png,x,,\nb.png,z,train,bob\n"
    write_csv(tmp_path, "image,caption,split,label\n" + rows)
    with pytest.raises(ValueError) as caught:
        read(tmp_path)
    text = str(caught.value)
    assert "line 3: a.png is in test, but in train in line 2" in text
    assert "line 5: label ann is in dev, but in train in line 4" in text
    assert "line 6: no split, although other lines have one" in text
    assert "line 7: b.png has the label 'bob', but 'ann' in line 4" in text


def test_an_empty_split_says_what_to_do(tmp_path: Path) -> None:
    write_csv(tmp_path, "image,caption,split\na.png,x,train\nb.png,x,dev\n")
    assert len(read(tmp_path, ("train", "dev"))) == 2
    with pytest.raises(ValueError, match=r"no group is in test.*dataset.splits = \['train', 'dev'\]"):
        read(tmp_path, ("train", "dev", "test"))
    write_csv(tmp_path, "image,caption\na.png,x\n")
    with pytest.raises(ValueError, match=r"no group is in dev.*held_out_percent = 1 of 1 groups.*split column"):
        read(tmp_path, ("train", "dev"), 1)
    write_csv(tmp_path, "image,caption\n")
    with pytest.raises(ValueError, match="has no captions"):
        read(tmp_path)


def test_a_list_in_a_cell_is_several_captions(tmp_path: Path) -> None:
    rows = ['a.png,"[""a dog"", ""it\'s red""]"', "b.png,\"['a cat', 'blue']\"", "c.png,[inaudible]", 'd.png,"[1, 2]"']
    groups = read(write_csv(tmp_path, "image,caption\n" + "\n".join(rows) + "\n"), held_out_percent=1)
    assert [group.captions for group in groups] == [
        ("a dog", "it's red"),
        ("a cat", "blue"),
        ("[inaudible]",),
        ("[1, 2]",),
    ]


def test_a_web_page_and_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text(" <!DOCTYPE HTML>\n<html></html>")
    with pytest.raises(ValueError, match=r"captions\.csv is an HTML page"):
        read(tmp_path)
    (tmp_path / "captions.csv").write_bytes("image,caption\na.png,x\n".encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"captions\.csv has zero bytes.*UTF-16 without a byte-order mark; save it as"):
        read(tmp_path)


def test_a_missing_duplicate_or_wrongly_encoded_caption_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        read(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"has no caption file; write captions\.jsonl or captions\.csv"):
        read(tmp_path)
    (tmp_path / "captions.csv").write_bytes("image,caption\na.png,Käfer\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        read(tmp_path)
    write_jsonl(tmp_path, {"image": "a.png", "caption": "x"})
    with pytest.raises(ValueError, match=r"both captions\.jsonl and captions\.csv"):
        read(tmp_path)


def test_unused_splits_and_images_are_counted(tmp_path: Path) -> None:
    write_csv(tmp_path, "image,caption,split\na.png,x,train\nsub/b.PNG,x,train\nc.png,x,dev\nd.jpg,x,test\n")
    for name in ("a.png", "sub/b.PNG", "sub/new.webp", "e.JPEG", "f.png", ".hidden/g.png", ".h.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    settings = Dataset(name="folder", root=f"{tmp_path}/.", splits=("train", "dev"))
    data = read_data(**arguments(settings))
    assert (data.unused_groups, data.images_without_caption) == ({"test": 1}, 3)
    counts = format_counts(data)
    assert counts == "2 train, 1 dev groups; 1 in test, not used by this config; 3 files without a caption"
    whole = read_data(**arguments(Dataset(name="folder", root=str(tmp_path), splits=("train", "dev", "test"))))
    assert whole.unused_groups == {} and format_counts(whole, whole.groups[:1]).startswith("1 train groups; 3 files")
