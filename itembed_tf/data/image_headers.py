"""Image headers: format, size and cost of an image file, read before anything is decoded. No TensorFlow, no Pillow.

Pillow reads headers too, but is not safe here: `Image.open` walks every PNG chunk and every byte between JPEG segments
in Python, so that one request of 12 MB blocks the server for 12 seconds (0.04 s here), and it takes 37 to 107 µs for an
ordinary image of 500 x 375 pixels (3 to 9 µs here). The tests compare the two.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from itembed_tf.data.not_images import BITMAP_HEADERS, HEIF_BRANDS, describe

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a JPEG segment: not stuffing, a restart or a fill byte
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG start-of-frame markers
_PROGRESSIVE, _LOSSLESS = (0xC2, 0xCA), (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)
_MAX_SEGMENTS, _MAX_GIF_BLOCKS, _MAX_BOXES = 10_000, 100_000, 10_000  # bound the time that a hostile header can take
_SLICE = 2**20  # bytes
ORDINARY_SCANS = 20  # libjpeg writes a progressive JPEG in 6, 10 or 18


class ImageError(ValueError):
    """A file that cannot be decoded. The message says what it is and fits after "is": "an HTML page, not an image"."""


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image file says.

    Attributes:
        format: "JPEG", "PNG", "GIF", "BMP", "WebP", "AVIF" or "HEIC".
        width, height: pixels as stored, before any orientation; of a GIF, its screen and its first frame.
        scans: of a JPEG; 1 for other formats.
        cost: pixels, or as many as decoding takes the time or memory of.
        only_pillow: what it is that TensorFlow misreads or refuses, such as "an AVIF image"; "" if nothing.
    """

    format: str
    width: int
    height: int
    scans: int = 1
    cost: int = 0
    only_pillow: str = ""

    @property
    def name(self) -> str:
        """The format with its article: "an AVIF image"."""
        return f"{'an' if self.format[0] == 'A' else 'a'} {self.format} image"


def read_header(data: bytes) -> ImageHeader:
    """Read the header of an image file.

    Raises:
        ImageError: not an image, an image of a format that is not read, or a truncated or invalid header.
    """
    readers = {b"\xff\xd8\xff": _jpeg, b"\x89PNG\r\n\x1a\n": _png, b"GIF87a": _gif, b"GIF89a": _gif}
    reader = next((read for magic, read in readers.items() if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        reader = _webp
    elif data[:2] == b"BM" and data[14:18] in BITMAP_HEADERS:
        reader = _bmp
    elif data[4:8] == b"ftyp" and HEIF_BRANDS.intersection(_brands(data)):
        reader = _heif
    if reader is None:
        raise ImageError(describe(data))
    name = {_jpeg: "JPEG", _png: "PNG", _gif: "GIF", _webp: "WebP", _bmp: "BMP", _heif: "HEIC or AVIF"}[reader]
    try:
        header = reader(data)
    except (struct.error, IndexError):
        raise ImageError(f"a truncated {name} image: it ends within its header") from None
    if not header.width * header.height:
        raise ImageError(f"a {name} image whose header has no size")
    return header if header.cost else replace(header, cost=header.width * header.height)


def check_cost(header: ImageHeader, max_pixels: int, *, setting: str = "max_pixels") -> None:
    """Refuse an image that takes more memory or time to decode than one of `max_pixels` pixels.

    Raises:
        ImageError: it does; the message names the `setting`.
    """
    if header.cost <= max_pixels:
        return
    size = f"{header.width:,} x {header.height:,} = {header.width * header.height:,} pixels"
    if header.scans > ORDINARY_SCANS:
        size += f" in {header.scans:,} scans, which takes as long as one of {header.cost:,} pixels"
    elif header.cost > header.width * header.height:
        size += f", which takes as much as one of {header.cost:,} pixels"
    raise ImageError(f"{header.name} of {size}; the maximum is {max_pixels:,} ({setting})")


def _jpeg(data: bytes) -> ImageHeader:
    width = height = components = scans = 0
    progressive, offset = False, 2
    for _ in range(_MAX_SEGMENTS):
        found = _next_marker(data, offset)  # skips bytes between segments, as libjpeg does
        if not found or data[found.end() - 1] == 0xD9:  # end of image
            break
        marker, offset = data[found.end() - 1], found.end()
        (length,) = struct.unpack_from(">H", data, offset)
        if marker in _FRAMES and not components:
            bits, height, width, components = struct.unpack_from(">BHHB", data, offset + 2)
            progressive = marker in _PROGRESSIVE
            if marker in _LOSSLESS or bits != 8:
                kind = "lossless or hierarchical" if marker in _LOSSLESS else f"{bits}-bit"
                raise ImageError(f"a {kind} JPEG image, which is not read; convert it to an ordinary JPEG or PNG")
        elif marker == 0xDA:
            scans += 1
            if not progressive and data[offset + 2] >= components:  # all components in one scan
                break
        offset += max(2, length)
    else:
        raise ImageError(f"a JPEG image of more than {_MAX_SEGMENTS:,} segments")
    if not components:
        raise IndexError
    cost = width * height * max(scans, ORDINARY_SCANS) // ORDINARY_SCANS
    return ImageHeader("JPEG", width, height, scans=max(scans, 1), cost=cost)


def _next_marker(data: bytes, start: int) -> re.Match[bytes] | None:
    """The next marker of a JPEG, searched for in slices: other threads have to wait for each search."""
    for offset in range(start, len(data), _SLICE):
        if found := _MARKER.search(data, offset, offset + _SLICE + 1):
            return found
    return None


def _png(data: bytes) -> ImageHeader:
    if data[12:16] == b"CgBI":
        raise ImageError("a PNG image in Apple's CgBI variant, which is not read; convert it to an ordinary PNG")
    if len(data) >= 16 and data[12:16] != b"IHDR":
        raise ImageError("a damaged PNG image: it does not begin with the chunk IHDR")
    return ImageHeader("PNG", *struct.unpack_from(">II", data, 16))


def _bmp(data: bytes) -> ImageHeader:
    """Of the many kinds of BMP, TensorFlow decodes 24 bits without compression, and misreads some of the others."""
    (size,) = struct.unpack_from("<I", data, 14)
    if size == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)  # the height of a top-down BMP is negative
    plain = (size, bits, compression) == (size, 24, 0) and size >= 40
    # Pillow decodes run lengths in Python, and one code may skip 255 rows.
    cost = max(width * height, 256 * width, 8 * len(data)) if compression in (1, 2) and size > 12 else 0
    kind = "" if plain else f"a BMP image of {bits} bits a pixel{' with compression' if compression else ''}"
    return ImageHeader("BMP", width, height, cost=cost, only_pillow=kind)


def _webp(data: bytes) -> ImageHeader:
    frames = 1
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
        frames = 2 if data[20] & 2 else 1  # libwebp keeps two canvases of an animation
    elif data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return ImageHeader("WebP", width, height, cost=frames * width * height)


def _gif(data: bytes) -> ImageHeader:
    """The size that Pillow gives the first frame. TensorFlow unpacks all frames, whose canvas it does not clear."""
    screen_width, screen_height, flags = struct.unpack_from("<HHB", data, 6)
    offset = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    blocks = 0
    while data[offset] == 0x21:  # extensions
        offset, blocks = _skip_blocks(data, offset + 2, blocks)
    if data[offset] != 0x2C:
        raise ImageError("a GIF image without a frame")
    left, top, width, height, flags = struct.unpack_from("<HHHHB", data, offset + 1)
    _skip_blocks(data, offset + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), blocks)
    kind = ""
    if (left, top, width, height) != (0, 0, screen_width, screen_height):
        kind = "a GIF image whose first frame does not fill it"
    elif data[-1] != 0x3B:
        kind = "a GIF image without its end mark"
    return ImageHeader("GIF", max(screen_width, left + width), max(screen_height, top + height), only_pillow=kind)


def _skip_blocks(data: bytes, offset: int, blocks: int) -> tuple[int, int]:
    """The offset after a chain of GIF data blocks, and the number of blocks so far."""
    while data[offset]:
        offset, blocks = offset + data[offset] + 1, blocks + 1
        if blocks > _MAX_GIF_BLOCKS:
            raise ImageError(f"a GIF image of more than {_MAX_GIF_BLOCKS:,} blocks before its first frame's end")
    return offset + 1, blocks + 1


def _brands(data: bytes) -> list[bytes]:
    end = min(int.from_bytes(data[:4], "big"), 256)
    return [data[8:12], *(data[i : i + 4] for i in range(16, end, 4))]


def _heif(data: bytes) -> ImageHeader:
    """HEIC and AVIF: the largest of the sizes (ispe) that the file gives its images and tiles (ISO/IEC 23008-12)."""
    name = "AVIF" if {b"avif", b"avis"}.intersection(_brands(data)) else "HEIC"
    sizes = [struct.unpack_from(">II", data, start + 4) for start in _find_boxes(data)]
    if not sizes:
        raise IndexError
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return ImageHeader(name, width, height, only_pillow=f"{'an' if name == 'AVIF' else 'a'} {name} image")


def _find_boxes(data: bytes) -> list[int]:
    """Where the bodies of the boxes meta/iprp/ipco/ispe start."""
    spans = [(0, len(data))]
    for kind, skip in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0), (b"ispe", 0)):
        spans = [(start + skip, end) for span in spans for start, end in _boxes(data, *span, kind)]
    return [start for start, _ in spans]


def _boxes(data: bytes, start: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the body of every box of a kind in data[start:end]."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, body = int.from_bytes(data[start : start + 4], "big"), start + 8
        if size == 1:
            size, body = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        stop = end if size == 0 else min(start + size, end)
        if stop < body:
            return
        if data[start + 4 : start + 8] == kind:
            yield body, stop
        start = stop
