"""Ways to break a whole copy of a data set: each takes the copy and breaks it, and says what an error must name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.breaking import DEEP, HUGE, OVERFLOW, Break, load_json, nothing, rewrite, save_json, setting
from benchmarks.broken_shards import of_shards
from benchmarks.miniatures import Miniature
from itembed_tf.data.readers.shards import MANIFEST


def breaks(copy: Miniature) -> Iterator[Break]:
    """All ways that this layout can be broken in."""
    yield from _of_settings(copy)
    yield from _of_any_file(copy)
    if copy.format == "index":
        for case in _of_any_file(replace(copy, file=MANIFEST)):
            yield replace(case, kind=f"list of shards: {case.kind}")
        yield from of_shards(copy)
        return
    yield from _of_pictures(copy)
    if copy.lists:
        yield from _of_lists(copy)
    yield from {"tokens": _of_tokens, "csv": _of_csv}.get(copy.format, _of_json)(copy)


def _of_settings(copy: Miniature) -> Iterator[Break]:
    yield Break("a root that is not there", nothing, "nowhere/at/all", {copy.setting: "nowhere/at/all"})
    yield Break("no root", nothing, "dataset.root", {copy.setting: ""})
    yield Break("a root that is a file", nothing, "not a folder", {copy.setting: __file__})
    yield Break("a zero byte in the root", nothing, f"dataset.{copy.setting}", {copy.setting: "a\0b"})
    yield Break("an unknown split", nothing, "dataset.splits", {"splits": ("train", "val")})
    yield Break("a split asked for twice", nothing, "dataset.splits", {"splits": ("train", "train")})
    wrong = "entities" if copy.dataset != "flickr30k" else "random"
    yield Break("another data set's split_by", nothing, "dataset.split_by", {"split_by": wrong})


def _of_any_file(copy: Miniature) -> Iterator[Break]:
    file = Path(copy.file).name

    def replaced(kind: str, change: Callable[[bytes], bytes], names: str = file) -> Break:
        return Break(kind, lambda root: rewrite(root / copy.file, change), names)

    def into_folder(root: Path) -> None:
        (root / copy.file).unlink()
        (root / copy.file).mkdir()

    def into_nowhere(root: Path) -> None:
        (root / copy.file).unlink()
        (root / copy.file).symlink_to(root / "gone")

    yield Break("the file is missing", lambda root: (root / copy.file).unlink(), file)
    yield Break("a folder in place of the file", into_folder, file)
    yield Break("a link to nowhere", into_nowhere, file)
    yield replaced("an empty file", lambda data: b"")
    yield replaced("a file of blanks", lambda data: b" \n\n\t\n")
    yield replaced("half of the file", lambda data: data[: len(data) * 55 // 100].rstrip())
    yield replaced("UTF-16", lambda data: data.decode().encode("utf-16"))
    yield replaced("Latin-1", lambda data: data.replace(b"e", "é".encode("latin-1"), 1))
    yield replaced("a page of the web", lambda data: b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n")
    yield replaced("a zip archive", lambda data: b"PK\x03\x04\x14\x00" + bytes(range(256)) * 4)
    yield replaced("zero bytes", lambda data: bytes(4096))
    yield Break(
        "a byte-order mark", lambda root: rewrite(root / copy.file, lambda d: b"\xef\xbb\xbf" + d), "", harmless=True
    )
    yield Break("CRLF", lambda root: rewrite(root / copy.file, lambda d: d.replace(b"\n", b"\r\n")), "", harmless=True)


def _of_pictures(copy: Miniature) -> Iterator[Break]:
    def each(change: Callable[[Path], None]) -> Callable[[Path], None]:
        def do(root: Path) -> None:
            for path in sorted((root / copy.pictures).rglob("*.jpg")):
                change(path)

        return do

    def folders(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def move(root: Path) -> None:
        (root / copy.pictures).rename(root / "elsewhere")

    def stand_in(root: Path) -> None:
        shutil.rmtree(root / copy.pictures)
        (root / copy.pictures).write_text("not a folder")

    if copy.dataset != "folder":  # which has no folder of pictures of its own, and leaves missing ones to training
        yield Break("no folder of pictures", move, copy.pictures)
        yield Break("a file in place of that folder", stand_in, copy.pictures)
    gone = [("pictures that are missing", lambda path: path.unlink())]
    gone += [("pictures of another ending", lambda path: path.rename(path.with_suffix(".jpeg")))]
    of_training = copy.dataset in ("folder", "coco")  # COCO's other folder is whole
    for kind, change in gone:
        yield Break(kind, each(change), copy.pictures, in_pictures=of_training)
    # what only decoding finds is the same for every reader
    for kind, change in [
        ("folders in place of pictures", folders),
        ("pictures that are text", lambda path: path.write_text("no picture") and None),
        ("pictures cut short", lambda path: path.write_bytes(path.read_bytes()[:200]) and None),
        ("empty pictures", lambda path: path.write_bytes(b"") and None),
    ]:
        if copy.format == "jsonl":
            yield Break(kind, each(change), copy.pictures, in_pictures=True)


def _of_lists(copy: Miniature) -> Iterator[Break]:
    train, dev, _ = copy.lists
    name = Path(dev).name

    def add(text: str) -> Callable[[Path], None]:
        return lambda root: rewrite(root / dev, lambda data: data + text.encode())

    def from_train(root: Path) -> None:
        add((root / train).read_text().splitlines()[0] + "\n")(root)

    def again(root: Path) -> None:
        add((root / dev).read_text().splitlines()[0] + "\n")(root)

    def into_folder(root: Path) -> None:
        (root / dev).unlink()
        (root / dev).mkdir()

    yield Break("a list is missing", lambda root: (root / dev).unlink(), name)
    yield Break("a folder in place of a list", into_folder, name)
    yield Break("an empty list", lambda root: rewrite(root / dev, lambda d: b""), name)
    yield Break("a list in Latin-1", lambda root: rewrite(root / dev, lambda d: b"\xfc.jpg\n"), name)
    yield Break("a picture in two lists", from_train, "<root>")
    yield Break("a picture twice in a list", again, "<root>")
    yield Break("a listed picture that has no caption", add("no_such_picture.jpg\n"), "<root>")
    yield Break("a list that leaves the folder", add("../../etc/passwd\n"), "<root>")


def _rewritten(copy: Miniature, kind: str, pattern: str, by: str) -> Break:
    """The first match of the pattern in the file of captions is something else."""

    def do(root: Path) -> None:
        text = (root / copy.file).read_text()
        (root / copy.file).write_text(re.sub(pattern, lambda _: by, text, count=1), encoding="utf-8")

    return Break(kind, do, Path(copy.file).name)


def _of_tokens(copy: Miniature) -> Iterator[Break]:
    changed = partial(_rewritten, copy)
    yield changed("the wrong column", r"^.*\n", "a caption and no picture\n")
    yield changed("no number behind #", r"#0", "")
    yield changed("blanks for the tab", r"\t", "    ")
    yield changed("an empty caption", r"\t.*", "\t  ")
    yield changed("a line twice", r"#1", "#0")
    yield changed("a path that leaves the folder", r"^", "../../etc/")
    yield changed("an absolute path", r"^", "/etc/")
    yield changed("a path of 5,000 letters", r"^", "a" * 5000)
    yield changed("a zero byte in a name", r"^", "a\0b")


def _of_csv(copy: Miniature) -> Iterator[Break]:
    changed = partial(_rewritten, copy)
    swapped = changed("the wrong column", "image,caption", "caption,image")
    # a folder's columns may stand in any order, so that captions become pictures that are missing
    yield replace(swapped, names="number 0", in_pictures=True) if copy.dataset == "folder" else swapped
    yield changed("a column of another name", "image,", "picture,")
    yield changed("a column twice", "image,caption", "image,image,caption")
    yield changed("no header", r"^.*\n", "")
    yield changed("semicolons", "image,caption", "image;caption")
    yield changed("a quotation mark that is not closed", r'number 0"', "number 0")
    yield changed("a field of 200,000 letters", '"a picture', '"' + "a" * 200_000)
    yield changed("a path that leaves the folder", r"\n", "\n../../etc/")
    yield changed("an absolute path", r"\n", "\n/etc/")
    yield changed("a path of 5,000 letters", r"\n", "\n" + "a" * 5000)
    yield changed("a zero byte in a name", r"\n", "\na\0b")
    yield changed("an empty caption", r'"a picture with the number 0"', '""')
    yield changed("no picture", r"\n[^,]*,", "\n,")
    if copy.dataset == "folder":
        yield changed("split: unknown", ",train", ",training")
        yield changed("a column too many", ",train", ",train,more")
        yield changed("a picture in two splits", ",train", ",test")
        yield changed("a line twice", r'"number 0 , seen from the left"', '"a picture with the number 0"')


BAD_VALUES: dict[str, dict[str, Any]] = {
    "name": {"empty": "", "leaves the folder": "../../etc/passwd", "absolute": "/etc/passwd", "of Windows": "C:\\a.jpg"}
    | {"5,000 letters": "a" * 5000 + ".jpg", "a zero byte": "a\0b.jpg", "half a surrogate pair": "\ud83d.jpg"}
    | {"a number": 7, "null": None, "a list": ["a.jpg"], "an object": {}, "NaN": float("nan"), "huge": HUGE},
    "caption": {"a number": 7, "null": None, "a list of lists": [[["a"]]], "an object": {}, "true": True}
    | {"half a surrogate pair": "a \ud83d", "NaN": float("nan"), "infinite": float("-inf"), "huge": HUGE},
    "split": {"unknown": "training", "a number": 1, "a list": ["train"], "an object": {}, "NaN": float("nan")},
    "id": {"a string": "1", "a fraction": 1.5, "negative": -1, "null": None, "a list": [1], "true": True, "huge": HUGE}
    | {"1e400": OVERFLOW, "NaN": float("nan"), "a million digits too many": -(10**400)},
    "entry": {"a number": 7, "null": None, "a list": [], "a string": "a.jpg", "an object": {}, "without end": DEEP},
    "captions": {"a number": 7, "null": None, "empty": [], "an object": {}, "a string": "a", "a list of lists": [[[]]]},
    "pictures": {"a number": 7, "null": None, "empty": [], "an object": {}, "a string": "a.jpg", "without end": DEEP},
}


def _of_json(copy: Miniature) -> Iterator[Break]:
    """Every field of the first entry with every value that it must not have, and left out; and what repeats itself."""
    file = Path(copy.file).name
    keys = _places(copy)
    for field, place in keys.items():
        for value, bad in BAD_VALUES[field].items():
            yield Break(f"{field}: {value}", setting(copy.file, place, bad), file)
        # a caption, an entry left out is one fewer; a split may be left out where a rule stands in for it
        may_lack = field in ("entry", "pictures", "caption", "split") and (field, copy.format) != ("split", "karpathy")
        if not may_lack or (field, copy.format) == ("caption", "jsonl"):
            yield Break(f"{field}: left out", setting(copy.file, place, None, remove=True), file)
    yield Break("a key twice", lambda root: rewrite(root / copy.file, _key_twice), file)
    if copy.format == "jsonl":
        yield Break("a line twice", lambda root: rewrite(root / copy.file, lambda d: d + d.split(b"\n")[0]), file)
        return
    yield Break("the other kind of whole", lambda root: rewrite(root / copy.file, _other_whole), file)
    yield Break("more behind the end", lambda root: rewrite(root / copy.file, lambda d: d + b"]}"), file)
    yield Break(
        "a comma behind the last", lambda root: rewrite(root / copy.file, lambda d: d[:-1] + b"," + d[-1:]), file
    )
    if copy.format == "persons":
        yield Break("a picture of two identities", _copying(copy, "name"), file)
    else:
        yield Break("a picture listed twice", _copying(copy, "entry"), file)
    if "id" in keys and copy.format != "persons":
        yield Break("one id of two pictures", _copying(copy, "id"), file)
    if copy.format == "captions":
        yield Break("a caption of no picture", setting(copy.file, ("annotations", 0, "image_id"), 99), file)
        yield Break("one id of two captions", setting(copy.file, ("annotations", 0, "id"), 1), file)
    if copy.dataset == "coco" and copy.format == "karpathy":
        yield Break("an unknown folder", setting(copy.file, ("images", 0, "filepath"), "test2014"), file)
    if copy.format == "karpathy":
        yield Break("another data set's file", setting(copy.file, ("dataset",), "flickr0k"), file)
    if copy.dataset == "cuhk-pedes":
        yield Break("an identity in two splits", setting(copy.file, (0, "split"), "test"), file)


def _places(copy: Miniature) -> dict[str, tuple[Any, ...]]:
    """Where each field of the first entry stands in the file."""
    own: tuple[Any, ...]
    found: dict[str, tuple[Any, ...]]
    if copy.format == "karpathy":
        own = ("images", 0)
        found = {"name": (*own, "filename"), "split": (*own, "split"), "captions": (*own, "sentences")}
        found |= {"caption": (*own, "sentences", 0, "raw"), "entry": own, "pictures": ("images",)}
        return found | ({"id": (*own, "cocoid")} if copy.dataset == "coco" else {})
    if copy.format == "captions":
        own = ("images", 0)
        found = {"name": (*own, "file_name"), "id": (*own, "id"), "entry": own, "pictures": ("images",)}
        return found | {"caption": ("annotations", 0, "caption"), "captions": ("annotations",)}
    if copy.format == "jsonl":
        return {"name": (0, "image"), "caption": (0, "caption"), "split": (0, "split"), "entry": (0,)}
    key = "img_path" if copy.dataset == "rstpreid" else "file_path"
    found = {"name": (0, key), "id": (0, "id"), "captions": (0, "captions"), "caption": (0, "captions", 0)}
    return found | {"split": (0, "split"), "entry": (0,), "pictures": ()}


def _copying(copy: Miniature, field: str) -> Callable[[Path], None]:
    """The last entry takes the first one's field."""

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


def _other_whole(data: bytes) -> bytes:
    return b'{"all": ' + data + b"}" if data.lstrip().startswith(b"[") else b"[" + data + b"]"
