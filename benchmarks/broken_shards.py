"""Fault injection for packed datasets: index, manifest and shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.breaking import DEEP, HUGE, OVERFLOW, Break, rewrite, setting
from benchmarks.miniatures import Miniature
from itembed_tf.data.readers.shards import MANIFEST

NOT_TEXT: dict[str, Any] = {
    "a number": 7,
    "null": None,
    "a list": ["a"],
    "an object": {},
    "a lone surrogate": "a \ud83d",
}
NOT_A_NUMBER: dict[str, Any] = {"a string": "1", "negative": -1, "a fraction": 1.5, "null": None, "true": True}
NOT_A_NUMBER |= {"huge": HUGE, "1e400": OVERFLOW, "NaN": float("nan"), "beyond the end": 10**12}
NOT_A_LIST: dict[str, Any] = {"a number": 7, "null": None, "empty": [], "an object": {}, "a string": "a", "deep": DEEP}
NOT_AN_OBJECT: dict[str, Any] = {"a number": 7, "null": None, "a list": [], "a string": "a", "empty": {}}
INDEX_VALUES: dict[tuple[Any, ...], dict[str, Any]] = {
    ("bytes",): NOT_A_NUMBER,
    ("groups",): {key: value for key, value in NOT_A_LIST.items() if key != "empty"},
    ("groups", 0): NOT_AN_OBJECT,
    ("groups", 0, "id"): NOT_TEXT,
    ("groups", 0, "label"): NOT_TEXT,
    ("groups", 0, "captions"): NOT_A_LIST,
    ("groups", 0, "captions", 0): NOT_TEXT,
    ("groups", 0, "caption_ids"): {"of fewer captions": [1], **{k: v for k, v in NOT_A_LIST.items() if k != "empty"}},
    ("groups", 0, "images"): NOT_A_LIST,
    ("groups", 0, "images", 0): NOT_A_LIST | {"three numbers": [0, 1, 2]},
    ("groups", 0, "images", 0, 0): NOT_A_NUMBER,
    ("groups", 0, "images", 0, 1): NOT_A_NUMBER,
}
MANIFEST_VALUES: dict[tuple[Any, ...], dict[str, Any]] = {
    (): NOT_AN_OBJECT | {"deep": DEEP},
    ("schema",): {"of another version": 99, "a string": "1", "true": True, "null": None},
    ("name",): {"of another dataset": "coco", "null": None},
    ("split_by",): {"another": "karpathy", "null": None},
    ("shards",): NOT_AN_OBJECT,
    ("shards", "train"): {key: value for key, value in NOT_A_NUMBER.items() if key != "beyond the end"} | {"none": 0},
}


def shard_cases(copy: Miniature) -> Iterator[Break]:
    """Test cases for packed datasets, in addition to those for any file."""
    for file, places in ((copy.file, INDEX_VALUES), (MANIFEST, MANIFEST_VALUES)):
        for place, values in places.items():
            field = f"{'index' if file == copy.file else 'manifest'}, {' '.join(map(str, place)) or 'all'}"
            for value, bad in values.items():
                yield Break(f"{field}: {value}", setting(file, place, bad), file)
            if place and isinstance(place[-1], str):
                yield Break(f"{field}: left out", setting(file, place, None, remove=True), file)
    yield Break("a split that was not packed", setting(MANIFEST, ("shards", "dev"), None, remove=True), "dev")
    yield Break("more shards than there are", setting(MANIFEST, ("shards", "train"), 3), "train-00000-of-00003")
    yield from _record_cases(copy)


def _record_cases(copy: Miniature) -> Iterator[Break]:
    shard = Path(copy.file).with_suffix(".tfrecord").name

    def into_folder(root: Path) -> None:
        (root / shard).unlink()
        (root / shard).mkdir()

    def rewritten(by: Callable[[bytes], bytes]) -> Callable[[Path], None]:
        return lambda root: rewrite(root / shard, by)

    def duplicate(root: Path) -> None:
        shutil.copyfile(root / shard, root / shard.replace("00000-", "00001-", 1))
        shutil.copyfile(root / copy.file, root / copy.file.replace("00000-", "00001-", 1))

    yield Break("a shard that is missing", lambda root: (root / shard).unlink(), shard)
    yield Break("a folder in place of a shard", into_folder, shard)
    yield Break("one shard twice", duplicate, "<root>")
    yield Break("one id of two groups", setting(copy.file, ("groups", 0, "id"), "images/01.jpg"), "<root>")
    for kind, by in (
        ("an empty shard", lambda data: b""),
        ("half of a shard", lambda data: data[: len(data) // 2]),
        ("more after a shard's end", lambda data: data + b"more"),
    ):
        yield Break(kind, rewritten(by), shard)
    yield Break("zeros in a shard", rewritten(lambda data: bytes(len(data))), "images/00.jpg", in_images=True)
