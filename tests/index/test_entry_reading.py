"""Reading an entry: content hash, date, thumbnail, and what is wrong with a file."""

from __future__ import annotations

import hashlib
import io
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from itembed_tf.index.entry_reading import BATCH, BATCH_BYTES, ReadEntry, read_ahead, read_entry
from itembed_tf.index.sources import Entry, file_entry
from tests.support.images import image_bytes


def photograph(date: str, orientation: int = 1, size: tuple[int, int] = (640, 400)) -> bytes:
    """A JPEG that says when it was taken."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9003] = date
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def read(path: Path, data: bytes, known: bool = False, max_pixels: int = 10**6) -> ReadEntry:
    path.write_bytes(data)
    return read_entry(file_entry(str(path), str(path.parent)), is_known=lambda content: known, max_pixels=max_pixels)


@pytest.mark.parametrize(
    ("written", "date"), [("2019:05:01 10:20:30", "2019-05-01T10:20:30"), ("0000:00:00 00:00:00", None), ("?", None)]
)
def test_the_date_is_that_of_the_photograph_else_of_the_file(tmp_path: Path, written: str, date: str | None) -> None:
    path = tmp_path / "a.jpg"
    found = read(path, photograph(written))
    assert found.date == (date or datetime.fromtimestamp(int(path.stat().st_mtime)).isoformat())


def test_content_size_and_an_upright_thumbnail(tmp_path: Path) -> None:
    data = photograph("2019:05:01 10:20:30", orientation=6)
    found = read(tmp_path / "a.jpg", data)
    assert found.content == hashlib.sha256(data).hexdigest()
    assert (found.width, found.height, found.size, found.data) == (640, 400, len(data), data)
    assert found.thumbnail is not None
    with Image.open(io.BytesIO(found.thumbnail)) as small:
        assert small.size == (200, 320), "turned upright, at most 320 pixels"


def test_a_known_content_is_not_kept_nor_shrunk(tmp_path: Path) -> None:
    found = read(tmp_path / "a.png", image_bytes(1), known=True)
    assert (found.data, found.thumbnail, found.width) == (b"", None, 40)


@pytest.mark.parametrize(
    ("data", "problem", "lasting"),
    [
        (b"", "an empty file", True),
        (b"<html>", "an HTML page", True),
        (image_bytes(1, size=(2000, 2000)), "a PNG image of 2,000 x 2,000 = 4,000,000 pixels; the maximum is", True),
        (None, "missing: there is no such file", False),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, data: bytes | None, problem: str, lasting: bool) -> None:
    if data is None:
        entry = Entry(str(tmp_path / "none.png"), "image", "1 1", "none.png", image=str(tmp_path / "none.png"))
        found = read_entry(entry, is_known=lambda content: False, max_pixels=10**6)
    else:
        found = read(tmp_path / "a.png", data)
    assert found.problem.startswith(problem) and found.lasting == lasting


def test_batches_keep_the_order_and_a_limit_of_bytes() -> None:
    entries = [
        Entry(f"{n}", "text", "1", "t", size=(n == 3) * (BATCH_BYTES + 1), captions=(str(n),)) for n in range(70)
    ]
    batches = list(read_ahead(iter(entries), lambda entry: ReadEntry(entry)))
    assert [read.entry for batch in batches for read in batch] == entries
    assert [len(batch) for batch in batches] == [3, 1, BATCH, BATCH, 2], "a large file is alone"
