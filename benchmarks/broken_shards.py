"""Ways to break a packed data set: its index, the list of its shards, and the shards themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.breaking import DEEP, HUGE, OVERFLOW, Break, rewrite, setting
from benchmarks.miniatures import Miniature
from itembed_tf.data.readers.shards import MANIFEST

NO_TEXT: dict[str, Any] = {"a number": 7, "null": None, "a list": ["a"], "an object": {}, "half a pair": "a \ud83d"}
NO_NUMBER: dict[str, Any] = {"a string": "1", "negative": -1, "a fraction": 1.5, "null": None, "true": True}
NO_NUMBER |= {"huge": HUGE, "1e400": OVERFLOW, "NaN": float("nan"), "beyond the end": 10**12}
NO_LIST: dict[str, Any] = {"a number": 7, "null": None, "empty": [], "an object": {}, "a string": "a", "deep": DEEP}
NO_OBJECT: dict[str, Any] = {"a number": 7, "null": None, "a list": [], "a string": "a", "empty": {}}
OF_INDEX: dict[tuple[Any, ...], dict[str, Any]] = {
    ("bytes",): NO_NUMBER,
    ("groups",): {key: value for key, value in NO_LIST.items() if key != "empty"},
    ("groups", 0): NO_OBJECT,
    ("groups", 0, "id"): NO_TEXT,
    ("groups", 0, "label"): NO_TEXT,
    ("groups", 0, "captions"): NO_LIST,
    ("groups", 0, "captions", 0): NO_TEXT,
    ("groups", 0, "caption_ids"): {"of fewer captions": [1], **{k: v for k, v in NO_LIST.items() if k != "empty"}},
    ("groups", 0, "images"): NO_LIST,
    ("groups", 0, "images", 0): NO_LIST | {"three numbers": [0, 1, 2]},
    ("groups", 0, "images", 0, 0): NO_NUMBER,
    ("groups", 0, "images", 0, 1): NO_NUMBER,
}
OF_MANIFEST: dict[tuple[Any, ...], dict[str, Any]] = {
    (): NO_OBJECT | {"deep": DEEP},
    ("schema",): {"of another version": 99, "a string": "1", "true": True, "null": None},
    ("name",): {"of another data set": "coco", "null": None},
    ("split_by",): {"another": "karpathy", "null": None},
    ("shards",): NO_OBJECT,
    ("shards", "train"): {key: value for key, value in NO_NUMBER.items() if key != "beyond the end"} | {"none": 0},
}


def of_shards(copy: Miniature) -> Iterator[Break]:
    """All ways that a packed data set can be broken in, besides those of any file."""
    for file, places in ((copy.file, OF_INDEX), (MANIFEST, OF_MANIFEST)):
        for place, values in places.items():
            field = f"{'index' if file == copy.file else 'list of shards'}, {' '.join(map(str, place)) or 'all'}"
            for value, bad in values.items():
                yield Break(f"{field}: {value}", setting(file, place, bad), file)
            if place and isinstance(place[-1], str):
                yield Break(f"{field}: left out", setting(file, place, None, remove=True), file)
    yield Break("a split that was not packed", setting(MANIFEST, ("shards", "dev"), None, remove=True), "dev")
    yield Break("more shards than there are", setting(MANIFEST, ("shards", "train"), 3), "train-00000-of-00003")
    yield from _of_records(copy)


def _of_records(copy: Miniature) -> Iterator[Break]:
    shard = Path(copy.file).with_suffix(".tfrecord").name

    def into_folder(root: Path) -> None:
        (root / shard).unlink()
        (root / shard).mkdir()

    def rewritten(by: Callable[[bytes], bytes]) -> Callable[[Path], None]:
        return lambda root: rewrite(root / shard, by)

    def of_other(root: Path) -> None:
        shutil.copyfile(root / shard, root / shard.replace("00000-", "00001-", 1))
        shutil.copyfile(root / copy.file, root / copy.file.replace("00000-", "00001-", 1))

    yield Break("a shard that is missing", lambda root: (root / shard).unlink(), shard)
    yield Break("a folder in place of a shard", into_folder, shard)
    yield Break("one shard twice", of_other, "<root>")
    yield Break("one id of two groups", setting(copy.file, ("groups", 0, "id"), "pictures/01.jpg"), "<root>")
    for kind, by in (
        ("an empty shard", lambda data: b""),
        ("half of a shard", lambda data: data[: len(data) // 2]),
        ("more behind a shard's end", lambda data: data + b"more"),
    ):
        yield Break(kind, rewritten(by), shard)
    yield Break("zeros in a shard", rewritten(lambda data: bytes(len(data))), "pictures/00.jpg", in_pictures=True)
