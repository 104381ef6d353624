"""Fault injection for datasets: all ways to damage a miniature copy, and what the error message must have."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.breaking import (
    DEEP,
    HUGE,
    OVERFLOW,
    Break,
    load_json,
    nothing,
    replace_by_dangling_link,
    replace_by_folder,
    rewrite,
    save_json,
    setting,
)
from benchmarks.broken_containers import POINTER, container_cases
from benchmarks.broken_shards import shard_cases
from benchmarks.image_files import bombs
from benchmarks.miniatures import Miniature
from itembed_tf.data.readers.shards import MANIFEST

BOMB = dict(bombs())["PNG of 3.6 gigapixels"]


def breaks(copy: Miniature) -> Iterator[Break]:
    """All test cases of a layout."""
    yield from _setting_cases(copy)
    if copy.format in ("tar", "parquet"):
        yield from container_cases(copy)
        return
    yield from _file_cases(copy)
    if copy.format == "index":
        for case in _file_cases(replace(copy, file=MANIFEST)):
            yield replace(case, kind=f"manifest: {case.kind}")
        yield from shard_cases(copy)
        return
    yield from _image_cases(copy)
    if copy.lists:
        yield from _list_cases(copy)
    yield from {"tokens": _token_cases, "csv": _csv_cases}.get(copy.format, _json_cases)(copy)


def _setting_cases(copy: Miniature) -> Iterator[Break]:
    yield Break("a root that does not exist", nothing, "nowhere/at/all", {copy.setting: "nowhere/at/all"})
    yield Break("no root", nothing, "dataset.root", {copy.setting: ""})
    yield Break("a root that is a file", nothing, "not a folder", {copy.setting: __file__})
    yield Break("a zero byte in the root", nothing, f"dataset.{copy.setting}", {copy.setting: "a\0b"})
    yield Break("an unknown split", nothing, "dataset.splits", {"splits": ("train", "val")})
    yield Break("a split requested twice", nothing, "dataset.splits", {"splits": ("train", "train")})
    wrong = "entities" if copy.dataset != "flickr30k" else "random"
    yield Break("another dataset's split_by", nothing, "dataset.split_by", {"split_by": wrong})


def _file_cases(copy: Miniature) -> Iterator[Break]:
    file = Path(copy.file).name

    def replaced(kind: str, change: Callable[[bytes], bytes], names: str = file) -> Break:
        return Break(kind, lambda root: rewrite(root / copy.file, change), names)

    yield Break("the file is missing", lambda root: (root / copy.file).unlink(), file)
    yield Break("a folder in place of the file", lambda root: replace_by_folder(root / copy.file), file)
    yield Break("a dangling link", lambda root: replace_by_dangling_link(root / copy.file), file)
    yield replaced("an empty file", lambda data: b"")
    yield replaced("a file of blanks", lambda data: b" \n\n\t\n")
    yield replaced("half of the file", lambda data: data[: len(data) * 55 // 100].rstrip())
    yield replaced("UTF-16 without a byte-order mark", lambda data: data.decode().encode("utf-16-le"))
    yield replaced("Latin-1", lambda data: data.replace(b"e", "é".encode("latin-1"), 1))
    yield replaced("an HTML page", lambda data: b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n")
    yield replaced("a zip archive", lambda data: b"PK\x03\x04\x14\x00" + bytes(range(256)) * 4)
    yield replaced("zero bytes", lambda data: bytes(4096))
    yield replaced("a Git LFS pointer", lambda data: POINTER)
    yield replaced("a Xet pointer", lambda data: b"# xet version 0\nfilesize = 12\nhash = 'ab'\n")
    yield Break(
        "a byte-order mark", lambda root: rewrite(root / copy.file, lambda d: b"\xef\xbb\xbf" + d), "", harmless=True
    )
    yield Break(
        "UTF-16", lambda root: rewrite(root / copy.file, lambda d: d.decode().encode("utf-16")), "", harmless=True
    )
    yield Break("CRLF", lambda root: rewrite(root / copy.file, lambda d: d.replace(b"\n", b"\r\n")), "", harmless=True)


def _image_cases(copy: Miniature) -> Iterator[Break]:
    def each(change: Callable[[Path], None]) -> Callable[[Path], None]:
        def do(root: Path) -> None:
            for path in sorted((root / copy.images).rglob("*.jpg")):
                change(path)

        return do

    def folders(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def move(root: Path) -> None:
        (root / copy.images).rename(root / "elsewhere")

    def stand_in(root: Path) -> None:
        shutil.rmtree(root / copy.images)
        (root / copy.images).write_text("not a folder")

    if copy.dataset != "folder":  # which has no image folder; missing images are left to training
        yield Break("no image folder", move, copy.images)
        yield Break("a file in place of that folder", stand_in, copy.images)
    in_training = copy.dataset in ("folder", "coco")  # COCO's other folder is intact
    yield Break("missing images", each(lambda path: path.unlink()), copy.images, in_images=in_training)
    renamed = each(lambda path: os.rename(path, path.with_suffix(".jpeg")))
    suffix = Break("images with another suffix", renamed, copy.images, in_images=in_training)
    yield replace(suffix, names="00.jpeg", in_images=False, warns=True) if copy.dataset == "folder" else suffix
    # only decoding finds these, which is the same for every reader
    for kind, change in [
        ("folders in place of images", folders),
        ("images that are text", lambda path: path.write_text("no image") and None),
        ("truncated images", lambda path: path.write_bytes(path.read_bytes()[:200]) and None),
        ("empty images", lambda path: path.write_bytes(b"") and None),
        ("HTML pages in place of images", lambda path: path.write_bytes(b"<!DOCTYPE html>\n<html></html>") and None),
        ("Git LFS pointers in place of images", lambda path: path.write_bytes(POINTER) and None),
        ("images of another format", lambda path: path.write_bytes(b"II*\0" + bytes(99)) and None),
        ("images of too many pixels", lambda path: path.write_bytes(BOMB) and None),
    ]:
        if copy.format == "jsonl":
            yield Break(kind, each(change), copy.images, in_images=True)


def _list_cases(copy: Miniature) -> Iterator[Break]:
    train, dev, _ = copy.lists
    name = Path(dev).name

    def add(text: str) -> Callable[[Path], None]:
        return lambda root: rewrite(root / dev, lambda data: data + text.encode())

    def from_train(root: Path) -> None:
        add((root / train).read_text().splitlines()[0] + "\n")(root)

    def again(root: Path) -> None:
        add((root / dev).read_text().splitlines()[0] + "\n")(root)

    yield Break("a list is missing", lambda root: (root / dev).unlink(), name)
    yield Break("a folder in place of a list", lambda root: replace_by_folder(root / dev), name)
    yield Break("an empty list", lambda root: rewrite(root / dev, lambda d: b""), name)
    yield Break("a Git LFS pointer in place of a list", lambda root: rewrite(root / dev, lambda d: POINTER), name)
    yield Break("a list in Latin-1", lambda root: rewrite(root / dev, lambda d: b"\xfc.jpg\n"), name)
    yield Break("an image in two lists", from_train, "<root>")
    yield Break("an image twice in a list", again, "<root>")
    yield Break("a listed image without a caption", add("no_such_image.jpg\n"), "<root>")
    yield Break("a list that leaves the folder", add("../../etc/passwd\n"), "<root>")


def _rewritten(copy: Miniature, kind: str, pattern: str, by: str) -> Break:
    """Replace the first match of the pattern in the caption file."""

    def do(root: Path) -> None:
        text = (root / copy.file).read_text()
        (root / copy.file).write_text(re.sub(pattern, lambda _: by, text, count=1), encoding="utf-8")

    return Break(kind, do, Path(copy.file).name)


def _replacing(copy: Miniature, old: bytes, new: bytes) -> Callable[[Path], None]:
    return lambda root: rewrite(root / copy.file, lambda data: data.replace(old, new))


def _substituting(copy: Miniature, pattern: re.Pattern[bytes], by: bytes) -> Callable[[Path], None]:
    return lambda root: rewrite(root / copy.file, lambda data: pattern.sub(lambda _: by, data, count=1))


def _token_cases(copy: Miniature) -> Iterator[Break]:
    changed = partial(_rewritten, copy)
    yield changed("the wrong column", r"^.*\n", "a caption and no image\n")
    yield changed("no number after #", r"#0", "")
    yield changed("blanks for the tab", r"\t", "    ")
    yield changed("an empty caption", r"\t.*", "\t  ")
    yield changed("a line twice", r"#1", "#0")
    yield changed("a path that leaves the folder", r"^", "../../etc/")
    yield changed("an absolute path", r"^", "/etc/")
    yield changed("a path of 5,000 characters", r"^", "a" * 5000)
    yield changed("a zero byte in a name", r"^", "a\0b")


def _csv_cases(copy: Miniature) -> Iterator[Break]:
    changed = partial(_rewritten, copy)
    swapped = changed("the wrong column", "image,caption", "caption,image")
    # a folder's columns may be in any order, so that captions become missing images
    own = copy.dataset == "folder"
    yield replace(swapped, names="number 0", in_images=True) if own else swapped
    yield replace(changed("a column of another name", "image,", "file,"), harmless=own)
    yield replace(changed("a header in capitals", "image,caption", "Image, CAPTION"), harmless=True)
    yield replace(changed("Excel's sep= line", "^", "sep=,\n"), harmless=own)
    yield changed("a column twice", "image,caption", "image,image,caption")
    yield changed("no header", r"^.*\n", "")
    yield changed("semicolons", "image,caption", "image;caption")
    yield changed("a quotation mark that is not closed", r'number 0"', "number 0")
    yield changed("a field of 200,000 characters", '"an image', '"' + "a" * 200_000)
    yield replace(changed("a path that leaves the folder", r"\n", "\n../../etc/"), harmless=own)
    yield changed("a path out of the folder, of no file", r"\n[^,]*", "\n../../etc/passwd")
    yield replace(changed("an absolute path", r"\n", "\n/etc/"), harmless=own)
    yield changed("an absolute path of no file", r"\n[^,]*", "\n/etc/passwd")
    yield changed("a web address", r"\n", "\nhttps://example.org/")
    yield changed("a path of 5,000 characters", r"\n", "\n" + "a" * 5000)
    yield changed("a zero byte in a name", r"\n", "\na\0b")
    empty = changed("an empty caption", r'"an image with the number 0"', '""')
    yield replace(empty, names="captions are empty", warns=True) if own else empty
    yield changed("no image", r"\n[^,]*,", "\n,")
    if copy.dataset == "folder":
        yield changed("split: unknown", ",train", ",training")
        yield changed("a column too many", ",train", ",train,more")
        yield changed("an image in two splits", ",train", ",test")
        twice = changed("a line twice", r'"number 0 , seen from the left"', '"an image with the number 0"')
        yield replace(twice, warns=True)
        for kind, old, new in [
            ("paths of Windows", b"images/", b"images\\"),
            ("names without an ending", b".jpg", b""),
            ("names in capitals", b".jpg", b".JPG"),
            ("paths of another machine", b"images/", b"C:\\Users\\ann\\images\\"),
        ]:
            yield Break(kind, _replacing(copy, old, new), "", harmless=True)


BAD_VALUES: dict[str, dict[str, Any]] = {
    "name": {"empty": "", "leaves the folder": "../../etc/passwd", "absolute": "/etc/passwd", "of Windows": "C:\\a.jpg"}
    | {"5,000 characters": "a" * 5000 + ".jpg", "a zero byte": "a\0b.jpg", "a lone surrogate": "\ud83d.jpg"}
    | {"a number": 7, "null": None, "a list": ["a.jpg"], "an object": {}, "NaN": float("nan"), "huge": HUGE},
    "caption": {"a number": 7, "null": None, "a list of lists": [[["a"]]], "an object": {}, "true": True}
    | {"a lone surrogate": "a \ud83d", "NaN": float("nan"), "infinite": float("-inf"), "huge": HUGE},
    "split": {"unknown": "training", "a number": 1, "a list": ["train"], "an object": {}, "NaN": float("nan")},
    "id": {"a string": "1", "a fraction": 1.5, "negative": -1, "null": None, "a list": [1], "true": True, "huge": HUGE}
    | {"1e400": OVERFLOW, "NaN": float("nan"), "a million digits too many": -(10**400)},
    "entry": {"a number": 7, "null": None, "a list": [], "a string": "a.jpg", "an object": {}, "nested": DEEP},
    "captions": {"a number": 7, "null": None, "empty": [], "an object": {}, "a string": "a", "a list of lists": [[[]]]},
    "images": {"a number": 7, "null": None, "empty": [], "an object": {}, "a string": "a.jpg", "nested": DEEP},
}


def _json_cases(copy: Miniature) -> Iterator[Break]:
    """Every field of the first entry with invalid values and removed; duplicates."""
    file = Path(copy.file).name
    keys = _places(copy)
    for field, place in keys.items():
        for value, bad in BAD_VALUES[field].items():
            empty = (copy.format, field, value) == ("jsonl", "caption", "null")  # as an empty caption of a table
            names = "captions are empty" if empty else file
            yield Break(f"{field}: {value}", setting(copy.file, place, bad), names, warns=empty)
        # without a caption or an entry there is one fewer; a split is optional where a rule replaces it
        optional = field in ("entry", "images", "caption", "split") and (field, copy.format) != ("split", "karpathy")
        if not optional or (field, copy.format) == ("caption", "jsonl"):
            yield Break(f"{field}: removed", setting(copy.file, place, None, remove=True), file)
    yield Break("a key twice", lambda root: rewrite(root / copy.file, _key_twice), file)
    if copy.format == "jsonl":
        short = re.compile(rb'"number 0 , seen from the left"')
        for kind, caption in (("a line twice", b'"an image with the number 0"'), ("an empty caption", b'" "')):
            yield Break(
                kind, _substituting(copy, short, caption), file if "twice" in kind else "captions are empty", warns=True
            )
        yield Break("an unknown key", _replacing(copy, b'{"image"', b'{"colour": "red", "image"'), "", harmless=True)
        return
    yield Break("another type of content", lambda root: rewrite(root / copy.file, _other_type), file)
    yield Break("more after the end", lambda root: rewrite(root / copy.file, lambda d: d + b"]}"), file)
    yield Break(
        "a comma after the last", lambda root: rewrite(root / copy.file, lambda d: d[:-1] + b"," + d[-1:]), file
    )
    if copy.format == "persons":
        yield Break("an image of two identities", _copying(copy, "name"), file)
    else:
        yield Break("an image listed twice", _copying(copy, "entry"), file)
    if "id" in keys and copy.format != "persons":
        yield Break("one id of two images", _copying(copy, "id"), file)
    if copy.format == "captions":
        yield Break("a caption of no image", setting(copy.file, ("annotations", 0, "image_id"), 99), file)
        yield Break("one id of two captions", setting(copy.file, ("annotations", 0, "id"), 1), file)
    if copy.dataset == "coco" and copy.format == "karpathy":
        yield Break("an unknown folder", setting(copy.file, ("images", 0, "filepath"), "test2014"), file)
    if copy.format == "karpathy":
        yield Break("another dataset's file", setting(copy.file, ("dataset",), "flickr0k"), file)
    if copy.dataset == "cuhk-pedes":
        yield Break("an identity in two splits", setting(copy.file, (0, "split"), "test"), file)


def _places(copy: Miniature) -> dict[str, tuple[Any, ...]]:
    """The path of each field of the first entry."""
    first: tuple[Any, ...]
    places: dict[str, tuple[Any, ...]]
    if copy.format == "karpathy":
        first = ("images", 0)
        places = {"name": (*first, "filename"), "split": (*first, "split"), "captions": (*first, "sentences")}
        places |= {"caption": (*first, "sentences", 0, "raw"), "entry": first, "images": ("images",)}
        return places | ({"id": (*first, "cocoid")} if copy.dataset == "coco" else {})
    if copy.format == "captions":
        first = ("images", 0)
        places = {"name": (*first, "file_name"), "id": (*first, "id"), "entry": first, "images": ("images",)}
        return places | {"caption": ("annotations", 0, "caption"), "captions": ("annotations",)}
    if copy.format == "jsonl":
        return {"name": (0, "image"), "caption": (0, "caption"), "split": (0, "split"), "entry": (0,)}
    key = "img_path" if copy.dataset == "rstpreid" else "file_path"
    places = {"name": (0, key), "id": (0, "id"), "captions": (0, "captions"), "caption": (0, "captions", 0)}
    return places | {"split": (0, "split"), "entry": (0,), "images": ()}


def _copying(copy: Miniature, field: str) -> Callable[[Path], None]:
    """Copy a field of the first entry to the last one."""

    def do(root: Path) -> None:
        content = load_json(root / copy.file)
        entries = content if copy.format == "persons" else content["images"]
        key = _places(copy)[field][-1]
        if field == "entry":
            entries.append(entries[0])
        else:
            entries[-1][key] = entries[0][key]
        save_json(root / copy.file, content)

    return do


def _key_twice(data: bytes) -> bytes:
    return re.sub(rb"\{(\"\w+\": )", rb'{\1"twice", \1', data, count=1)


def _other_type(data: bytes) -> bytes:
    return b'{"all": ' + data + b"}" if data.lstrip().startswith(b"[") else b"[" + data + b"]"
