"""How large a picture will be when it is decoded, from its header alone: what keeps decompression bombs out."""

from __future__ import annotations

import struct

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's SOF markers
_SEGMENTS, _GIF_BLOCKS = 10_000, 100_000  # that are looked at, at most: a header must not take long to read


def count_pixels(data: bytes) -> int:
    """Pixels that the decoder will make of a JPEG, PNG, GIF, BMP or WebP; of a GIF those of all its frames.

    The decoder of GIFs unpacks every frame even where only the first is asked for.

    Raises:
        ValueError: not one of these formats, or its header is cut short or says nothing.
    """
    kinds = ((b"\xff\xd8\xff", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"GIF8", _gif), (b"BM", _bmp))
    size = next((count for head, count in kinds if data.startswith(head)), None)
    if size is None and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = _webp
    if size is None:
        raise ValueError("is not a JPEG, PNG, GIF, BMP or WebP picture" if data else "is empty, not a picture")
    try:
        pixels = size(data)
    except (struct.error, IndexError):
        raise ValueError("is a picture whose header is cut short") from None
    if pixels <= 0:
        raise ValueError("is a picture whose header gives it no size")
    return pixels


def _jpeg(data: bytes) -> int:
    place = 2
    for _ in range(_SEGMENTS):
        place = data.find(b"\xff", place)  # as libjpeg does, skip what stands between the segments
        if place < 0:
            raise IndexError
        while data[place] == 0xFF:
            place += 1
        marker, place = data[place], place + 1
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 3)
            return height * width
        if marker not in (0x00, 0x01) and not 0xD0 <= marker <= 0xD8:  # all others have a length
            place += max(2, struct.unpack_from(">H", data, place)[0])
    raise ValueError(f"is a JPEG without a size in its first {_SEGMENTS} segments")


def _png(data: bytes) -> int:
    width, height = struct.unpack_from(">II", data, 16)
    return width * height


def _bmp(data: bytes) -> int:
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width) * abs(height)  # a negative height: rows from the top


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
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    pixels, blocks = width * height, 0
    while place < len(data) and data[place] in (0x21, 0x2C):
        if data[place] == 0x2C:
            width, height, flags = struct.unpack_from("<HHB", data, place + 5)
            pixels += width * height
            place += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            place += 2
        while place < len(data) and data[place]:
            place += data[place] + 1
            blocks += 1
            if blocks > _GIF_BLOCKS:
                raise ValueError(f"is a GIF of more than {_GIF_BLOCKS} blocks")
        place += 1
    return pixels
