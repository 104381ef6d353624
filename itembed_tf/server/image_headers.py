"""Image size from the header, to reject decompression bombs before anything is decoded.

Pillow reads headers too, but is not safe here: `Image.open` walks every PNG chunk and every byte between JPEG segments
in Python, so that one request of 12 MB blocks the server for 12 seconds (0.04 s here), and it takes 37 to 107 µs for an
ordinary image of 500 x 375 pixels (3 to 9 µs here; 155 µs for a GIF, whose frames Pillow does not count). The tests
compare the two.
"""

from __future__ import annotations

import re
import struct

_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG start-of-frame markers
_FILL_BYTES = re.compile(rb"\xff+")  # before a marker
_MAX_SEGMENTS, _MAX_GIF_BLOCKS = 10_000, 100_000  # bound the time that a hostile header can take


def count_pixels(data: bytes) -> int:
    """Number of pixels that decoding a JPEG, PNG, GIF, BMP or WebP allocates.

    For a GIF this is the sum over all frames: TensorFlow's decoder unpacks every frame even if only the first is used.

    Raises:
        ValueError: an unsupported format, a truncated header, or a header without a size.
    """
    readers = ((b"\xff\xd8\xff", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"GIF8", _gif), (b"BM", _bmp))
    reader = next((read for magic, read in readers if data.startswith(magic)), None)
    if reader is None and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        reader = _webp
    if reader is None:
        raise ValueError("is not a JPEG, PNG, GIF, BMP or WebP image" if data else "is empty, not an image")
    try:
        pixels = reader(data)
    except (struct.error, IndexError):
        raise ValueError("is an image with a truncated header") from None
    if pixels <= 0:
        raise ValueError("is an image whose header has no size")
    return pixels


def _jpeg(data: bytes) -> int:
    offset = 2
    for _ in range(_MAX_SEGMENTS):
        fill = _FILL_BYTES.search(data, offset)  # skips bytes between segments, as libjpeg does
        if not fill:
            raise IndexError
        marker, offset = data[fill.end()], fill.end() + 1
        if marker in _SOF_MARKERS:
            height, width = struct.unpack_from(">HH", data, offset + 3)
            return height * width
        if marker not in (0x00, 0x01) and not 0xD0 <= marker <= 0xD8:  # all other segments have a length
            offset += max(2, struct.unpack_from(">H", data, offset)[0])
    raise ValueError(f"is a JPEG without a size in the first {_MAX_SEGMENTS} segments")


def _png(data: bytes) -> int:
    width, height = struct.unpack_from(">II", data, 16)
    return width * height


def _bmp(data: bytes) -> int:
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width) * abs(height)  # the height of a top-down BMP is negative


def _webp(data: bytes) -> int:
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return width * height


def _gif(data: bytes) -> int:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    offset = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    pixels, blocks = width * height, 0
    while offset < len(data) and data[offset] in (0x21, 0x2C):
        if data[offset] == 0x2C:
            width, height, flags = struct.unpack_from("<HHB", data, offset + 5)
            pixels += width * height
            offset += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            offset += 2
        while offset < len(data) and data[offset] and blocks <= _MAX_GIF_BLOCKS:
            offset += data[offset] + 1
            blocks += 1
        offset, blocks = offset + 1, blocks + 1
        if blocks > _MAX_GIF_BLOCKS:
            raise ValueError(f"is a GIF of more than {_MAX_GIF_BLOCKS} blocks")
    return pixels
