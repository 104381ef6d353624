"""Records of JSON files in their many forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from itembed_tf.data.readers.records import read_records


def records(path: Path, content: Any) -> tuple[list[dict[str, Any]], list[str]]:
    path.write_text(json.dumps(content))
    problems: list[str] = []
    return [record.values for record in read_records(path, "", problems)[1]], problems


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 4}, {"id": "2", "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 2, "caption": "blue"},
        {"image_id": 1, "caption": "red"},
        {"image_id": 1, "caption": "x"},
    ],
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"image": "a.jpg", "caption": "red"}], [{"image": "a.jpg", "caption": "red"}]),
        (
            {"a.jpg": "red", "b.jpg": ["blue"]},
            [{"image": "a.jpg", "captions": "red"}, {"image": "b.jpg", "captions": ["blue"]}],
        ),
        ({"info": {}, "data": [{"img": "a.jpg", "text": "red"}]}, [{"img": "a.jpg", "text": "red"}]),
        ({"image": {"0": "a.jpg"}, "caption": {"0": "red"}}, [{"image": "a.jpg", "caption": "red"}]),
        ({"image": ["a.jpg"], "caption": [["red"]], "n": 1}, [{"image": "a.jpg", "caption": ["red"]}]),
        (COCO, [{"file_name": "a.jpg", "captions": ["red", "x"]}, {"file_name": "b.jpg", "captions": ["blue"]}]),
        (
            {"dataset": "x", "images": [{"filepath": "val", "filename": "a.jpg", "sentences": [{"raw": "red"}]}]},
            [{"filepath": "val", "filename": "val/a.jpg", "sentences": [{"raw": "red"}]}],
        ),
    ],
)
def test_forms_of_json(content: Any, expected: list[dict[str, Any]], tmp_path: Path) -> None:
    assert records(tmp_path / "a.json", content) == (expected, [])


def test_json_lines_and_json_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "caption": "red"}, {"image": "b.jpg", "caption": "blue"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for name, text in (
        ("a.json", lines),
        ("a.jsonl", json.dumps(rows)),
        ("b.jsonl", lines),
        ("A.JSON", json.dumps(rows)),
    ):
        (tmp_path / name).write_text(text)
        assert [record.values for record in read_records(tmp_path / name, "", [])[1]] == rows
    (tmp_path / "c.json").write_text(json.dumps({"a.jpg": "red"}) + "\n")
    assert read_records(tmp_path / "c.json", "", [])[1][0].values == {"image": "a.jpg", "captions": "red"}


def test_faults_of_cocos_form_are_reported(tmp_path: Path) -> None:
    content = {"images": [*COCO["images"], {"id": 1, "file_name": "c.jpg"}, 7]}
    content["annotations"] = [*COCO["annotations"], {"image_id": 9, "caption": "?"}]
    assert records(tmp_path / "a.json", content)[1] == [
        "images[3]: not an object",
        "images[2]: the id 1 is that of an image before",
        'annotations: image_id 9 is not in "images"',
    ]
    boxes = {"images": COCO["images"], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}
    with pytest.raises(ValueError, match='has no captions: no entry of "annotations" has "caption"'):
        records(tmp_path / "a.json", boxes)
    with pytest.raises(ValueError, match="it must be a list of objects with image and caption"):
        records(tmp_path / "a.json", 7)
