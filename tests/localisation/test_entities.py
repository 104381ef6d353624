"""Reader of Flickr30k Entities on a miniature copy: phrases, boxes, counts, and errors for invalid files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itembed_tf.localisation.entities import Phrase, located, read_entities, summary

SENTENCES = """\
[/EN#5/people A man] in [/EN#6/clothing a red shirt] lifts [/EN#7/other/bodyparts his arms] on [/EN#8/scene a street] .
[/EN#5/people The man] and [/EN#0/notvisual each other] hear [/EN#9/other the wind] near [/EN#10/vehicles two cars] .
[/EN#99/people Nobody] bought [/EN#5/people this] .
"""
ANNOTATION = """\
<annotation><filename>101.jpg</filename>
<size><width>60</width><height>40</height><depth>3</depth></size>
<object><name>5</name><name>7</name>
  <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>40</ymax></bndbox></object>
<object><name>6</name><bndbox><xmin>5</xmin><ymin>10</ymin><xmax>15</xmax><ymax>20</ymax></bndbox></object>
<object><name>10</name><bndbox><xmin>30</xmin><ymin>5</ymin><xmax>40</xmax><ymax>15</ymax></bndbox></object>
<object><name>10</name><bndbox><xmin>45</xmin><ymin>20</ymin><xmax>64</xmax><ymax>30</ymax></bndbox></object>
<object><name>8</name><nobndbox>0</nobndbox><scene>1</scene></object>
<object><name>9</name><nobndbox>1</nobndbox><scene>0</scene></object>
</annotation>
"""
IDS = {"train": ["101", "102"], "val": ["103"], "test": ["104"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A complete dataset of four images."""
    for folder in ("flickr30k-images", "Sentences", "Annotations"):
        (tmp_path / folder).mkdir()
    for split, ids in IDS.items():
        (tmp_path / f"{split}.txt").write_text("".join(f"{id}\n" for id in ids))
        for id in ids:
            Image.new("RGB", (60, 40), "red").save(tmp_path / "flickr30k-images" / f"{id}.jpg")
            (tmp_path / "Sentences" / f"{id}.txt").write_text(SENTENCES)
            (tmp_path / "Annotations" / f"{id}.xml").write_text(ANNOTATION)
    (tmp_path / "UNRELATED_CAPTIONS").write_text("# format: <imageID> <sentence number>\n102 3\n999 1\n")
    return tmp_path


def test_phrases_chains_and_boxes_match_the_files(root: Path) -> None:
    first, *_ = images = read_entities(root)
    assert [(p.id, p.split) for p in images] == [("101", "train"), ("102", "train"), ("103", "dev"), ("104", "test")]
    assert first.sentences[0] == "A man in a red shirt lifts his arms on a street ."
    assert first.phrases[2] == Phrase("his arms", "7", ("other", "bodyparts"), 0)
    assert [phrase.text for phrase in located(first)] == [
        *("A man", "a red shirt", "his arms"),
        *("The man", "two cars"),
        "this",
    ]
    assert (first.width, first.height) == (60, 40)
    # The files count from 1, we from 0; one object names two chains; one chain has two boxes, one of them clipped.
    assert np.array_equal(first.boxes["5"], [[0, 1, 19, 39]]) and np.array_equal(first.boxes["7"], first.boxes["5"])
    assert np.array_equal(first.boxes["10"], [[29, 4, 39, 14], [44, 19, 59, 29]])
    assert first.unboxed == {"8": "scene", "9": "no box"}


def test_summary_counts_everything_left_out(root: Path) -> None:
    assert summary(read_entities(root, ["train"])) == {
        "images": 2,
        "sentences": 5,
        "phrases with a box": 11,
        "boxes": 10,
        "boxes clipped at the image border": 2,
        "unrelated captions left out": 1,
        "phrases left out: scene": 2,
        "phrases left out: not visual": 2,
        "phrases left out: no box": 2,
        "phrases left out: not annotated": 1,
    }


def test_unrelated_captions_are_left_out_with_their_phrases(root: Path) -> None:
    (root / "UNRELATED_CAPTIONS").write_text("101 1\n")
    first = read_entities(root, ["train"])[0]
    assert len(first.sentences) == 2 and first.sentences[0].startswith("The man")
    assert {phrase.sentence for phrase in first.phrases} == {0, 1}


def test_lists_of_other_splits_may_be_missing(root: Path) -> None:
    (root / "test.txt").unlink()
    (root / "Annotations" / "103.xml").unlink()
    assert [image.id for image in read_entities(root, ["train"])] == ["101", "102"]


def test_chain_with_a_box_is_not_flagged_as_unboxed(root: Path) -> None:
    _replace(root / "Annotations/101.xml", "<name>9</name>", "<name>5</name>")
    first = read_entities(root, ["train"])[0]
    assert "5" in first.boxes and "5" not in first.unboxed


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def _in(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda root: _replace(root / file, old, new)


def _write(file: str, content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / file).write_bytes(content) and None


XML, TEXT = "Annotations/101.xml", "Sentences/101.txt"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(1, 20))
    + b"]><annotation>&u;</annotation>"
)
BROKEN = {
    "no folder": (lambda root: (root / "Sentences").rename(root / "sent"), "the folder Sentences is missing"),
    "no images": (lambda root: (root / "flickr30k-images").rename(root / "pics"), "flickr30k-images or"),
    "no list": (lambda root: (root / "val.txt").unlink(), "the list of dev is missing; it must be val.txt"),
    "no sentences": (lambda root: (root / TEXT).unlink(), "101: Sentences/101.txt is missing"),
    "no annotation": (lambda root: (root / XML).unlink(), "101: Annotations/101.xml is missing"),
    "no image": (lambda root: (root / "flickr30k-images/101.jpg").unlink(), "101: no image 101.jpg"),
    "broken image": (_write("flickr30k-images/101.jpg", b"\xff\xd8\xff\xe0 no"), "101.jpg cannot be read"),
    "another format": (
        lambda root: Image.new("RGB", (60, 40)).save(root / "flickr30k-images/101.jpg", "TIFF"),
        "101.jpg cannot be read: cannot identify image file",
    ),
    "cut image": (
        lambda root: (root / "flickr30k-images/101.jpg").write_bytes(
            (root / "flickr30k-images/101.jpg").read_bytes()[:-20]
        ),
        "101.jpg cannot be read: image file is truncated",
    ),
    "resized image": (
        lambda root: Image.new("RGB", (30, 20)).save(root / "flickr30k-images/101.jpg"),
        "101.jpg is 30 x 20, but its annotation says 60 x 40",
    ),
    "open mark": (_in(TEXT, "a red shirt]", "a red shirt"), "line 1: '[/EN#6/clothing a red shirt lifts"),
    "mark without type": (_in(TEXT, "EN#5/people A", "EN#5 A"), "line 1: '[/EN#5 A man]"),
    "mark without words": (_in(TEXT, "a street]", "]"), "line 1: '[/EN#8/scene ]"),
    "not UTF-8": (_write(TEXT, b"[/EN#5/people A m\xe4n] ."), "101.txt is not UTF-8 (byte 17)"),
    "cut XML": (_write(XML, ANNOTATION[:300].encode()), "101.xml is not valid XML"),
    "entity bomb": (_write(XML, BOMB), "101.xml has a document type"),
    "bomb in UTF-16": (_write(XML, BOMB.decode().encode("utf-16")), "101.xml has a document type"),
    "huge XML": (_write(XML, b" " * (2**22 + 1)), "101.xml has 4,194,305 bytes"),
    "deep XML": (_write(XML, b"<a>" * 10**6 + b"</a>" * 10**5), "101.xml is not valid XML"),
    "no size": (_in(XML, "<width>60</width>", ""), "size/width of the image is missing"),
    "zero width": (_in(XML, "<width>60", "<width>0"), "size is 0 x 40"),
    "invalid name": (_in(XML, "<name>6</name>", "<name>dog</name>"), "object 2 has the names ['dog']"),
    "object without name": (_in(XML, "<name>6</name>", ""), "object 2 has the names []"),
    "side that is not an integer": (_in(XML, "<xmin>5<", "<xmin>5.5<"), "bndbox/xmin of object 2 is '5.5'"),
    "side missing": (_in(XML, "<ymax>20</ymax>", ""), "bndbox/ymax of object 2 is missing"),
    "huge number": (_in(XML, "<xmin>5<", f"<xmin>{'9' * 9999}<"), "bndbox/xmin of object 2 is '9999"),
    "empty box": (_in(XML, "<xmin>5<", "<xmin>16<"), "object 2 has the box [16, 10, 15, 20], which is empty"),
    "box outside": (_in(XML, "<xmin>45<", "<xmin>61<"), "object 4 has the box [61, 20, 64, 30], which is empty or out"),
    "no flags": (_in(XML, "<nobndbox>1</nobndbox>", ""), "nobndbox of object 6 is missing"),
    "twice in lists": (_write("val.txt", b"101\n"), "val.txt: 101 is also in train.txt"),
    "path in a list": (_write("val.txt", b"../../etc/passwd\n"), "'../../etc/passwd' is not an id"),
    "empty list": (_write("val.txt", b"\n"), "val.txt is empty"),
    "unrelated, no number": (_write("UNRELATED_CAPTIONS", b"101 five\n"), "line 1: '101 five'; expected an id"),
    "unrelated, too high": (_write("UNRELATED_CAPTIONS", b"101 6\n"), "101 has no sentence 6, only 3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_invalid_input_is_refused_with_reason_and_location(root: Path, name: str) -> None:
    damage, message = BROKEN[name]
    damage(root)
    started = time.monotonic()
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_entities(root)
    assert message in str(caught.value)
    assert "docs/localisation.md" in str(caught.value)
    assert time.monotonic() - started < 20


def test_all_invalid_images_are_reported_together(root: Path) -> None:
    for id in ("101", "103"):
        (root / "Annotations" / f"{id}.xml").unlink()
    with pytest.raises(ValueError, match=r"2 of 4 images cannot be used:\n  101.*\n  103") as caught:
        read_entities(root)
    assert "docs/localisation.md" in str(caught.value)


def test_dataset_without_boxes_is_refused(root: Path) -> None:
    for path in (root / "Annotations").iterdir():
        path.write_text("<annotation><size><width>60</width><height>40</height></size></annotation>")
    with pytest.raises(ValueError, match="no phrase of train, dev, test has a box"):
        read_entities(root)


def test_missing_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder; expected the folder of Flickr30k Entities"):
        read_entities(tmp_path / "nowhere")
