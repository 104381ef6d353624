"""Image headers: size and cost as Pillow reads them, hostile headers, and what other files are."""

from __future__ import annotations

import contextlib
import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks import image_files
from benchmarks.served import sample_image
from itembed_tf.data.image_headers import ImageError, check_cost, read_header

FILES = [*image_files.jpegs(), *image_files.pngs(), *image_files.gifs(), *image_files.webps(), *image_files.bmps()]


@pytest.mark.parametrize(("name", "data"), FILES, ids=[name for name, _ in FILES])
def test_sizes_are_those_that_pillow_reads(name, data):
    header, image = read_header(data), Image.open(io.BytesIO(data))
    assert (header.width, header.height) == image.size and header.cost >= header.width * header.height
    assert header.format == {"WEBP": "WebP", "MPO": "JPEG"}.get(image.format, image.format)


@pytest.mark.parametrize("size", [(1, 1), (48, 40), (301, 7)])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF"])
def test_an_ordinary_image_costs_its_pixels(file_format, size):
    assert read_header(sample_image(0, file_format, size)).cost == size[0] * size[1]


def test_only_what_tensorflow_decodes_rightly_is_left_to_it():
    only_pillow = {name: read_header(data).only_pillow for name, data in FILES}
    assert not any(only_pillow[name] for name in only_pillow if name.startswith(("JPEG", "PNG")))
    assert only_pillow["BMP 24 bits"] == only_pillow["GIF clear"] == only_pillow["WebP alpha"] == ""
    assert only_pillow["BMP grey"] == "a BMP image of 8 bits a pixel"
    assert read_header(sample_image(0, "AVIF")).only_pillow == "an AVIF image"


@pytest.mark.parametrize(("name", "data"), list(image_files.bombs()), ids=lambda value: str(value)[:30])
def test_small_files_of_many_pixels_are_refused_by_their_header(name, data):
    with pytest.raises(ImageError, match=r"; the maximum is 50,000,000 \(max_pixels\)"):
        check_cost(read_header(data), 50_000_000)


def test_scans_beyond_the_usual_count_as_pixels():
    ordinary = [image_files.saved(image_files.rgb(), "JPEG", progressive=True)]
    ordinary += [image_files.saved(image_files.rgb().convert("CMYK"), "JPEG", progressive=True)]
    assert all(read_header(data).cost == 48 * 40 < 48 * 40 * read_header(data).scans for data in ordinary)
    header = read_header(image_files.many_scans(100, 100, 994))
    assert header.scans == 1000 and header.cost == 100 * 100 * 1000 // 20
    with pytest.raises(ImageError, match="in 1,000 scans, which takes as long as one of 500,000 pixels"):
        check_cost(header, 400_000)
    hidden = image_files.many_scans(100, 100, 994).replace(b"\xff\xda", b"\xff\xfe\0\4\xff\xd9\xff\xda")
    assert read_header(hidden).scans == 1000, "an end mark inside a comment hides nothing"


def test_other_files_are_named():
    reasons = {}
    for name, data in image_files.others():
        with pytest.raises(ImageError) as caught:
            read_header(data)
        reasons[name] = str(caught.value)
    for name, start in {
        "empty": "an empty file",
        "HTML page": "an HTML page, not an image",
        "HTML page without doctype": "an HTML page, not an image",
        "Git LFS pointer": "a Git LFS pointer: run git lfs pull",
        "SVG": "an SVG drawing, which is not read; convert it to PNG",
        "SVG with XML declaration": "an SVG drawing",
        "XML": "an XML text",
        "JSON": "a JSON text",
        "text": "a text, not an image: 'See the other folder for this image.'",
        "text in UTF-16": "a text, not an image: 'not an image'",
        "MP4": "a video, not an image",
        "zero bytes": "a file of zero bytes only",
        "TIFF": "a TIFF image, which is not read; convert it to PNG or JPEG",
        "camera raw": "a camera's raw image",
        "JPEG2000": "a JPEG 2000 image",
        "ICO": "an ICO (icon) image",
        "TGA": "a TGA image",
        "PDF": "a PDF document",
        "PNG of Apple": "a PNG image in Apple's CgBI variant",
        "JPEG lossless": "a lossless or hierarchical JPEG image",
        "random bytes": "not an image of a known format (JPEG, PNG, GIF, BMP, WebP, AVIF and HEIC are read); it begins",
    }.items():
        assert reasons[name].startswith(start), reasons[name]


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF....WEBP", b"\0\0\0\x18ftypavif"]
)
def test_incomplete_headers(data):
    with pytest.raises(ImageError, match=r"truncated|a text|an empty|a video"):
        read_header(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + b"\xff\x00" * 5_000_000,
        b"\xff\xd8\xff\xe0\x00\x02" + b"\x00" * 10_000_000,
        b"\xff\xd8" + b"\xff" * 10_000_000,
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 1_000_000,
        b"\xff\xd8\xff\xc2\x00\x0b\x08\x00\x09\x00\x09\x01\x01\x11\x00" + b"\xff\xda\x00\x02\x00" * 1_000_000,
        b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x00tEXt\x00\x00\x00\x00" * 1_000_000,
        b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01a" * 5_000_000,
        b"GIF89a" + bytes(7) + b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02" + b"\x01a" * 5_000_000,
        b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x08free" * 1_000_000,
        b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x0cmeta\0\0\0\0" * 1_000_000,
        b"<!--" * 2_000_000,
        b"<?xml" + b" " * 10_000_000,
    ],
    ids=[
        "JPEG stuffing",
        "JPEG zeros",
        "JPEG fill bytes",
        "JPEG segments",
        "JPEG scans",
        "PNG chunks",
        "GIF blocks",
        "GIF frame",
        "boxes",
        "boxes of one kind",
        "comments",
        "white space",
    ],
)
def test_hostile_headers_take_little_time(data):
    """Each takes seconds if a loop in Python reads all of it, and would block all other requests."""
    started = time.process_time()
    with contextlib.suppress(ImageError):
        read_header(data)
    assert time.process_time() - started < 1.0


def test_random_headers_and_limits_of_a_header():
    random = np.random.default_rng(0)
    bmp, avif = b"BM" + bytes(12) + b"(\0\0\0", b"\0\0\0\x10ftypavif\0\0\0\0"
    for head in (b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", bmp, avif, b"\x89PNG\r\n\x1a\n"):
        for _ in range(300):
            with contextlib.suppress(ImageError):
                assert read_header(head + random.bytes(int(random.integers(0, 400)))).cost > 0
    with pytest.raises(ImageError, match="more than"):
        read_header(b"GIF89a" + bytes(4) + b"\0\0\0" + b"\x21\xfe" + b"\x01a" * 300_000)
    with pytest.raises(ImageError, match="more than"):
        read_header(b"\xff\xd8" + b"\xff\xe1\x00\x02" * 1_000_000)
    assert read_header(image_files.bmp_file(b"", 24, size=(3, -5))).cost == 15


def test_the_size_of_an_avif_is_that_of_its_largest_part():
    def box(kind: bytes, *content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)

    sizes = [box(b"ispe", bytes(4), struct.pack(">II", *size)) for size in ((512, 512), (4032, 3024), (160, 120))]
    meta = box(b"meta", bytes(4), box(b"hdlr"), box(b"iprp", box(b"ipco", *sizes), box(b"ipma")))
    header = read_header(box(b"ftyp", b"heic", bytes(4), b"mif1heic") + meta)
    assert (header.format, header.width, header.height) == ("HEIC", 4032, 3024)
