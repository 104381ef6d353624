"""WebDataset shards as sources: samples with captions and fields, damage, names and sizes that were made to harm."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tracemalloc
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.layouts import put, tar
from itembed_tf.data.readers import read_image
from itembed_tf.errors import UsageError
from itembed_tf.index.build import build_index
from itembed_tf.index.database import reading, writing
from itembed_tf.index.generations import StoredEncoders, start_generation
from itembed_tf.index.items import all_items
from itembed_tf.index.sources import Listing, find_source, list_source
from tests.support.images import image_bytes

VALUES = {"caption": "of json", "url": "https://example.org/1", "width": 9, "tags": ["a", "b"], "error_message": None}


def listed(path: Path | str, **settings: str) -> Listing:
    return list_source(find_source(str(path), settings))


def shard(path: Path, count: int = 3, first: int = 0) -> Path:
    members = []
    for n in range(first, first + count):
        members += [(f"{n:04d}.png", image_bytes(n)), (f"{n:04d}.txt", f"caption {n}".encode())]
    return put(path, tar(members)) or path


def test_samples_are_images_with_captions_and_fields(tmp_path: Path) -> None:
    members = [("a/1.jpg", b"one"), ("a/1.json", json.dumps(VALUES).encode()), ("2.txt", b"no image"), ("3.png", b"3")]
    put(tmp_path / "s.tar", tar([*members, ("4.webp", b"four"), ("4.txt", b"first\n\nsecond\n")]))
    listing = listed(tmp_path / "s.tar")
    one, three, four = listing.entries
    assert (one.place, one.name, one.folder) == (f"{tmp_path}/s.tar#a/1", "1", "s.tar/a")
    assert one.captions == ("of json",)
    assert one.fields == {"url": "https://example.org/1", "width": 9, "tags": '["a", "b"]'}
    assert (three.captions, three.fields, four.captions) == ((), {}, ("first", "second"))
    assert [read_image(entry.image) for entry in (one, three, four)] == [b"one", b"3", b"four"]
    assert len(listing.entries) == 3 and not listing.problems
    assert next(iter(listed(tmp_path / "s.tar", caption_column="url").entries)).captions == ("https://example.org/1",)


def test_a_pattern_names_several_shards_and_one_that_is_damaged_stops_no_other(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar")
    (tmp_path / "1.tar").write_bytes(b"\x1f\x8b compressed")
    (tmp_path / "2.tar").write_bytes(b"no tar file" * 100)
    listing = listed(f"{tmp_path}/*.tar")
    assert [entry.place.rpartition("/")[2] for entry in listing.entries] == ["0.tar#0000", "0.tar#0001", "0.tar#0002"]
    assert listing.unlisted == [str(tmp_path / "1.tar"), str(tmp_path / "2.tar")]
    assert any("1.tar: is compressed; run gunzip" in problem for problem in listing.problems)
    assert any("2.tar: it has no sample with an image" in problem for problem in listing.problems)
    assert "give '" + str(tmp_path) + "/*.tar'" in listed(tmp_path).problems[0]
    assert "no shard matches" in listed(f"{tmp_path}/none/*.tar").problems[0]
    with pytest.raises(UsageError, match="does not exist"):
        find_source(str(tmp_path / "none.tar"))


def test_what_is_made_to_harm_is_named_and_left_out(tmp_path: Path) -> None:
    long = "k" * 2000
    members = [("../../etc/passwd.jpg", b"x"), (f"{long}.jpg", b"x"), ("a.jpg", b"1"), ("b.jpg", b"2"), ("a.png", b"3")]
    put(tmp_path / "s.tar", tar(members))
    listing = listed(tmp_path / "s.tar")
    assert [entry.name for entry in listing.entries] == ["passwd", "a", "b"], "names are only names"
    assert [problem.partition(": ")[2][:30] for problem in listing.problems] == [
        f"a name of 2,000 characters, '{'k'}",
        "a: a second sample of this nam",
    ]
    info = tarfile.TarInfo("big.jpg")
    info.size = 2 << 30
    with open(tmp_path / "sparse.tar", "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(512 + info.size + 1024)
    assert "an image of 2,147,483,648 bytes; the maximum" in listed(tmp_path / "sparse.tar").problems[0]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_of_gigabytes_is_not_read_into_memory(kind: bytes, tmp_path: Path) -> None:
    shard(tmp_path / "s.tar", 1)
    info = tarfile.TarInfo("header")
    info.size, info.type = 1 << 30, kind
    with open(tmp_path / "s.tar", "r+b") as file:
        content = file.read().rstrip(b"\0")
        file.seek((len(content) + 511) // 512 * 512)
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(file.tell() + info.size)
    tracemalloc.start()
    listing = listed(tmp_path / "s.tar")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(listing.entries) == 1 and peak < 1 << 25


def test_headers_that_nest_or_overflow_end_the_shard(tmp_path: Path) -> None:
    nested, huge = tarfile.TarInfo("n"), tarfile.TarInfo("huge.jpg")
    nested.size, nested.type, huge.size = 2, tarfile.GNUTYPE_LONGNAME, 1 << 80
    block = nested.tobuf(tarfile.USTAR_FORMAT) + b"x\0".ljust(512, b"\0")
    for name, ending in (("nested", block * 3000), ("huge", huge.tobuf(tarfile.GNU_FORMAT))):
        (tmp_path / f"{name}.tar").write_bytes(tar([("a.jpg", b"1")])[:1024] + ending)
        listing = listed(tmp_path / f"{name}.tar")
        assert [entry.name for entry in listing.entries] == ["a"] and listing.problems, name


def test_an_index_of_shards_follows_them(tmp_path: Path) -> None:
    def embed(contents: Sequence[bytes]) -> list[np.ndarray | str]:
        vectors = [np.frombuffer(hashlib.sha256(content).digest(), np.uint8)[:4] for content in contents]
        return [(vector / np.linalg.norm(vector.astype(np.float32))).astype(np.float32) for vector in vectors]

    index, file = tmp_path / "i", shard(tmp_path / "s.tar", 4)
    with writing(index, create=True) as connection:
        start_generation(connection, StoredEncoders("c0" * 32, 4, b"", "{}"))
    report = build_index(index, [find_source(str(file))], embed_images=embed)
    assert (report.added, report.items) == (4, 4)
    assert build_index(index, embed_images=embed).unchanged == 4
    with closing(reading(index)) as connection:
        assert [item.captions for item in all_items(connection)] == [(f"caption {n}",) for n in range(4)]
    shard(file, 5)
    report = build_index(index, embed_images=embed)
    assert (report.added, report.encoded, report.items) == (1, 1, 5), "the others were only read again"
    content = file.read_bytes()
    file.write_bytes(content[: 2 * 1024 + 700])  # an incomplete copy
    report = build_index(index, embed_images=embed, prune=True)
    assert report.items == 5 and report.problems, "what a damaged shard had is kept"
    shard(file, 1)
    assert build_index(index, embed_images=embed, prune=True).items == 1
