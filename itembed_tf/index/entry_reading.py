"""Reading the images of a source: content hash, size, date, thumbnail. Several threads read ahead of the encoder."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from itembed_tf.data.image_headers import ImageError, ImageHeader, check_cost, read_header
from itembed_tf.data.pillow_images import open_image
from itembed_tf.data.readers import read_image
from itembed_tf.data.thumbnails import FAST, small_image
from itembed_tf.index.sources import Entry

SIDE = 320  # pixels of a thumbnail
BATCH, BATCH_BYTES = 32, 1 << 26  # images that are read, encoded and committed together, and their bytes
THREADS = 4
_EXIF_IFD, _DATE_TIME_ORIGINAL, _DATE_TIME = 0x8769, 0x9003, 0x0132


@dataclass(frozen=True)
class ReadEntry:
    """An entry whose image was read.

    Attributes:
        entry: of the source.
        content: SHA-256 (hex) of the file or the sentence.
        data: of the file; empty where the index has this content already.
        width, height: pixels; None for a sentence.
        size: bytes of the file; None for a sentence.
        date: ISO 8601, of the photograph or of the file.
        thumbnail: a small file; None for a sentence, and where `data` is empty.
        problem: why it cannot be read, as a phrase after "is"; "" if it can.
        lasting: whether `problem` stays while the file is the same.
        embedded: the vector float32 [D], or why the image cannot be decoded, where a worker encoded it at once.
    """

    entry: Entry
    content: str = ""
    data: bytes = b""
    width: int | None = None
    height: int | None = None
    size: int | None = None
    date: str | None = None
    thumbnail: bytes | None = None
    problem: str = ""
    lasting: bool = True
    embedded: NDArray[np.float32] | str | None = None


def read_ahead(entries: Iterable[Entry], read: Callable[[Entry], ReadEntry]) -> Iterator[list[ReadEntry]]:
    """Batches of read entries in order; while the caller has one, the next is read by threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        pending: list[Future[ReadEntry]] = []
        try:
            for batch in batches(entries):
                following = [pool.submit(read, entry) for entry in batch]
                if pending:
                    yield [future.result() for future in pending]
                pending = following
            if pending:
                yield [future.result() for future in pending]
        finally:
            pool.shutdown(cancel_futures=True)


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries in lists of `BATCH`, or of fewer where their files are large."""
    batch, size = list[Entry](), 0
    for entry in entries:
        if batch and (len(batch) == BATCH or size + entry.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


def read_entry(entry: Entry, *, is_known: Callable[[str], bool], max_pixels: int) -> ReadEntry:
    """Read an entry. What is wrong with its file is in `ReadEntry.problem`; nothing is raised.

    Args:
        entry: of a source.
        is_known: whether the index has a vector of this content; it gets no thumbnail then.
        max_pixels: an image of more pixels, by its header, is not decoded.
    """
    if entry.image is None:
        return ReadEntry(entry, hashlib.sha256(entry.captions[0].encode()).hexdigest())
    try:
        data = read_image(entry.image)
        content = hashlib.sha256(data).hexdigest()
        header = read_header(data)
        check_cost(header, max_pixels)
    except ImageError as error:
        return ReadEntry(entry, problem=str(error))
    except FileNotFoundError:
        return ReadEntry(entry, problem="missing: there is no such file", lasting=False)
    except OSError as error:
        return ReadEntry(entry, problem=f"not readable: {error.strerror or error}", lasting=False)
    known = is_known(content)
    return ReadEntry(
        entry,
        content,
        b"" if known else data,
        header.width,
        header.height,
        len(data),
        photograph_date(data, header) or _iso(entry.time),
        None if known else _thumbnail(data, header),
    )


def read_content(entry: Entry) -> ReadEntry:
    """The image of an entry with its content hash alone, for an item that the index has. Nothing is raised."""
    if entry.image is None:
        return ReadEntry(entry, hashlib.sha256(entry.captions[0].encode()).hexdigest())
    try:
        data = read_image(entry.image)
    except FileNotFoundError:
        return ReadEntry(entry, problem="missing: there is no such file")
    except OSError as error:
        return ReadEntry(entry, problem=f"not readable: {error.strerror or error}")
    return ReadEntry(entry, hashlib.sha256(data).hexdigest(), data)


def photograph_date(data: bytes, header: ImageHeader) -> str | None:
    """When a photograph was taken, by EXIF (DateTimeOriginal, else DateTime), ISO 8601; None if it does not say."""
    if header.format not in ("JPEG", "HEIC", "WebP", "AVIF") or b"Exif" not in data[: 1 << 16]:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(data, header) as image:
                exif = image.getexif()
                text = exif.get_ifd(_EXIF_IFD).get(_DATE_TIME_ORIGINAL) or exif.get(_DATE_TIME)
        return datetime.strptime(str(text)[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except Exception:  # decoders raise almost any exception for a damaged file; cameras without a clock write 0000
        return None


def _iso(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(int(time)).isoformat()


def _thumbnail(data: bytes, header: ImageHeader) -> bytes | None:
    try:
        return small_image(data, SIDE, header=header, effort=FAST).data
    except Exception:  # as above: the encoder decides whether the image is read
        return None
