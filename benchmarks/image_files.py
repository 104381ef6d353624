"""200 image files made by Pillow and by hand, for `benchmarks.image_formats`: every mode, palette, depth and damage."""

from __future__ import annotations

import base64
import gzip
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 40
ORIENTATION = 0x0112


def colours(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A smooth colour image, uint8 [height, width, 3]; no orientation of it equals another."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.rint(255 * np.stack([x, y, (1 - x) * y], axis=-1)).astype(np.uint8)


def alpha(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Clear at the left, opaque at the right: uint8 [height, width]."""
    return np.broadcast_to(np.rint(np.linspace(0, 255, width)).astype(np.uint8), (height, width))


def rgb(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.fromarray(colours(width, height))


def rgba(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.fromarray(np.dstack([colours(width, height), alpha(width, height)]))


def palette_of(image: Image.Image) -> list[int]:
    return image.getpalette() or []


def cut_out(count: int = 64) -> Image.Image:
    """A palette image with a clear left half."""
    image = rgb().quantize(count - 1)
    index = np.asarray(image).copy()
    index[:, : WIDTH // 2] = count - 1
    cut = Image.fromarray(index, "P")
    cut.putpalette([*palette_of(image)[: 3 * (count - 1)], 7, 7, 7])
    cut.info["transparency"] = count - 1
    return cut


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


PNG = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png_file(
    samples: np.ndarray, depth: int, colour: int, before: bytes = b"", after: bytes = b"", interlaced: bool = False
) -> bytes:
    """A PNG by hand.

    Args:
        samples: [height, width, channels], of `depth` bits.
        depth, colour: bit depth and colour type of the header.
        before, after: chunks before and after the pixels.
        interlaced: Adam7.
    """

    def scanlines(part: np.ndarray) -> bytes:
        flat = part.reshape(len(part), -1)
        if depth == 16:
            return b"".join(b"\0" + row.astype(">u2").tobytes() for row in flat)
        bits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :].reshape(len(part), -1)
        return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)

    height, width, _ = samples.shape
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [samples]
    pixels = zlib.compress(b"".join(scanlines(part) for part in passes if part.size))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return PNG + png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", pixels) + after + png_chunk(b"IEND", b"")


def bmp_file(
    rows: bytes, bits: int, *, palette: bytes = b"", compression: int = 0, masks: bytes = b"", header: int = 40,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> bytes:  # fmt: skip
    """A BMP by hand; the rows are bottom-up unless the height is negative."""
    width, height = size
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        colours_used = len(palette) // 4
        info = struct.pack(
            "<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 0, 0, colours_used, 0
        )
        info += masks.ljust(header - 40, b"\0") if header > 40 else masks
    start = 14 + len(info) + len(palette)
    return struct.pack("<2sIII", b"BM", start + len(rows), 0, start) + info + palette + rows


def bmp_rows(values: np.ndarray, bits: int) -> bytes:
    """Rows of palette indices [height, width], bottom-up, each padded to four bytes."""
    unpacked = np.unpackbits(values[::-1].astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
    packed = [np.packbits(row.reshape(-1)).tobytes() for row in unpacked]
    return b"".join(row + b"\0" * (-len(row) % 4) for row in packed)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def jpegs() -> Iterator[tuple[str, bytes]]:
    for quality in (50, 90, 100):
        yield f"JPEG quality {quality}", saved(rgb(), "JPEG", quality=quality)
    for name, subsampling in (("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)):
        yield f"JPEG {name}", saved(rgb(), "JPEG", subsampling=subsampling)
    yield "JPEG grey", saved(rgb().convert("L"), "JPEG")
    yield "JPEG CMYK", saved(rgb().convert("CMYK"), "JPEG", quality=95)
    yield "JPEG without YCbCr", saved(rgb(), "JPEG", keep_rgb=True)
    yield "JPEG progressive", saved(rgb(), "JPEG", progressive=True)
    yield "JPEG progressive grey", saved(rgb().convert("L"), "JPEG", progressive=True)
    yield "JPEG progressive CMYK", saved(rgb().convert("CMYK"), "JPEG", progressive=True)
    yield "JPEG optimised", saved(rgb(), "JPEG", optimize=True)
    yield "JPEG restart markers", saved(rgb(), "JPEG", restart_marker_blocks=2)
    yield "JPEG comment", saved(rgb(), "JPEG", comment=b"\xff\xd8\xff\xc0\x00\x11")
    yield "JPEG ICC profile", saved(rgb(), "JPEG", icc_profile=b"\0" * 70_000)
    yield "JPEG junk between segments", saved(rgb(), "JPEG").replace(b"\xff\xdb", b"\0junk\xff\xdb", 1)
    yield "JPEG bytes after the end", saved(rgb(), "JPEG") + b"\0" * 500
    yield "JPEG two images (MPO)", saved(rgb(), "MPO", save_all=True, append_images=[rgb().rotate(180)])
    for width, height in ((1, 1), (17, 31), (3, 100)):
        yield f"JPEG {width} x {height}", saved(rgb(width, height), "JPEG", quality=95)
    for value in range(1, 9):
        yield f"JPEG orientation {value}", saved(rgb(), "JPEG", quality=95, exif=exif(value))
    yield "JPEG orientation 9", saved(rgb(), "JPEG", exif=exif(9))


def pngs() -> Iterator[tuple[str, bytes]]:
    grey, palette = rgb().convert("L"), rgb().quantize(200)
    yield "PNG colour", saved(rgb(), "PNG")
    yield "PNG grey", saved(grey, "PNG")
    yield "PNG 1 bit", saved(rgb().convert("1"), "PNG")
    yield "PNG grey with alpha", saved(rgba().convert("LA"), "PNG")
    yield "PNG alpha", saved(rgba(), "PNG")
    yield "PNG opaque alpha", saved(rgb().convert("RGBA"), "PNG")
    yield "PNG clear", saved(Image.new("RGBA", (WIDTH, HEIGHT), (9, 9, 9, 0)), "PNG")
    yield "PNG one clear colour", saved(rgb(), "PNG", transparency=tuple(map(int, colours()[3, 5])))
    yield "PNG one clear grey", saved(grey, "PNG", transparency=int(np.asarray(grey)[3, 5]))
    for bits in (1, 2, 4, 8):
        yield f"PNG palette of {bits} bits", saved(rgb().quantize(2**bits), "PNG", bits=bits)
        yield (
            f"PNG palette of {bits} bits, clear",
            saved(cut_out(2**bits) if bits > 1 else cut_out(2), "PNG", bits=bits),
        )
    yield "PNG palette with alpha", saved(palette, "PNG", transparency=bytes(range(200)))
    deep = colours().astype(np.uint16) * 257
    yield "PNG 16-bit grey", saved(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG")
    yield "PNG 16-bit colour", png_file(deep, 16, 2)
    yield "PNG 16-bit alpha", png_file(np.dstack([deep, alpha().astype(np.uint16) * 257]), 16, 6)
    yield "PNG 16-bit grey with alpha", png_file(np.dstack([deep[..., :1], alpha().astype(np.uint16) * 257]), 16, 4)
    for bits in (2, 4):
        yield f"PNG grey of {bits} bits", png_file(colours()[..., :1] >> (8 - bits), bits, 0)
    yield "PNG grey of 4 bits, clear", png_file(colours()[..., :1] >> 4, 4, 0, before=png_chunk(b"tRNS", b"\0\3"))
    yield "PNG interlaced colour", png_file(colours(), 8, 2, interlaced=True)
    yield "PNG interlaced grey", png_file(colours()[..., :1], 8, 0, interlaced=True)
    yield "PNG interlaced alpha", png_file(np.dstack([colours(), alpha()]), 8, 6, interlaced=True)
    yield "PNG interlaced 16-bit", png_file(deep, 16, 2, interlaced=True)
    yield "PNG interlaced 1 x 1", png_file(colours(1, 1), 8, 2, interlaced=True)
    yield "PNG gamma", png_file(colours(), 8, 2, before=png_chunk(b"gAMA", struct.pack(">I", 45455)))
    yield "PNG text", png_file(colours(), 8, 2, before=png_chunk(b"tEXt", b"a\0eXIf tRNS"))
    yield "PNG animated", saved(rgb(), "PNG", save_all=True, append_images=[rgb().rotate(180)])
    parts, plain = [], png_file(colours(), 8, 2)
    start = plain.index(b"IDAT") + 4
    content = plain[start : start + struct.unpack(">I", plain[start - 8 : start - 4])[0]]
    parts = [png_chunk(b"IDAT", content[i : i + 9]) for i in range(0, len(content), 9)]
    yield "PNG many chunks", plain[: start - 8] + b"".join(parts) + png_chunk(b"IEND", b"")
    yield "PNG bytes after the end", saved(rgb(), "PNG") + b"\0" * 300
    for width, height in ((1, 1), (17, 31)):
        yield f"PNG {width} x {height}", saved(rgba(width, height), "PNG")
    for value in range(1, 9):
        yield f"PNG orientation {value}", saved(rgba() if value % 2 else rgb(), "PNG", exif=exif(value))
    tags = exif(6).tobytes().removeprefix(b"Exif\0\0")
    yield "PNG orientation after the pixels", png_file(colours(), 8, 2, after=png_chunk(b"eXIf", tags))


def gifs() -> Iterator[tuple[str, bytes]]:
    opaque, clear = rgb().quantize(64), cut_out()
    turned = opaque.rotate(180)
    yield "GIF", saved(opaque, "GIF")
    yield "GIF grey", saved(rgb().convert("L"), "GIF")
    yield "GIF two colours", saved(rgb().convert("1"), "GIF")
    yield "GIF not interlaced", saved(opaque, "GIF", interlace=0)
    yield "GIF clear", saved(clear, "GIF")
    yield "GIF clear, 4 colours", saved(cut_out(4), "GIF")
    yield "GIF comment", saved(clear, "GIF", comment=b"c" * 700)
    yield "GIF animated", saved(opaque, "GIF", save_all=True, append_images=[turned])
    yield "GIF animated, clear", saved(clear, "GIF", save_all=True, append_images=[turned], disposal=2)
    still = saved(opaque, "GIF")
    yield "GIF without end mark", still[:-1]
    yield "GIF bytes after the end", still + b"\0\0"
    yield "GIF87a", b"GIF87a" + still[6:]
    for name, image in (("opaque", opaque), ("clear", clear)):
        larger = bytearray(saved(image, "GIF"))
        larger[6:10] = struct.pack("<HH", WIDTH + 10, HEIGHT + 6)
        yield f"GIF frame smaller than the screen, {name}", bytes(larger)
    yield "GIF 1 x 1", saved(rgb(1, 1), "GIF")


def webps() -> Iterator[tuple[str, bytes]]:
    for quality in (10, 80, 100):
        yield f"WebP quality {quality}", saved(rgb(), "WEBP", quality=quality)
    yield "WebP lossless", saved(rgb(), "WEBP", lossless=True)
    yield "WebP alpha", saved(rgba(), "WEBP", quality=90)
    yield "WebP alpha at low quality", saved(rgba(), "WEBP", quality=20, alpha_quality=20)
    yield "WebP lossless alpha", saved(rgba(), "WEBP", lossless=True)
    yield "WebP lossless alpha, exact", saved(rgba(), "WEBP", lossless=True, exact=True)
    yield "WebP opaque alpha", saved(rgb().convert("RGBA"), "WEBP")
    yield "WebP grey", saved(rgb().convert("L"), "WEBP")
    yield "WebP ICC profile", saved(rgb(), "WEBP", icc_profile=b"\0" * 333)
    yield "WebP alpha and ICC profile", saved(rgba(), "WEBP", lossless=True, icc_profile=b"\0" * 333)
    yield "WebP animated", saved(rgb(), "WEBP", save_all=True, append_images=[rgb().rotate(180)])
    yield "WebP animated alpha", saved(rgba(), "WEBP", save_all=True, append_images=[rgba().rotate(180)])
    for width, height in ((1, 1), (17, 31)):
        yield f"WebP {width} x {height}", saved(rgba(width, height), "WEBP", lossless=True)
    for value in range(1, 9):
        image = rgba() if value % 2 else rgb()
        yield f"WebP orientation {value}", saved(image, "WEBP", quality=95, exif=exif(value), lossless=value > 4)
    tags = exif(8).tobytes()
    yield "WebP orientation, as in a JPEG", saved(rgb(), "WEBP", exif=b"Exif\0\0" + tags.removeprefix(b"Exif\0\0"))


def bmps() -> Iterator[tuple[str, bytes]]:
    pixels, indexed = colours(), rgb().quantize(16)
    index = np.asarray(indexed)
    palette = np.asarray(palette_of(indexed)[:48], np.uint8).reshape(16, 3)
    four = b"".join(bytes(each[::-1]) + b"\0" for each in palette)
    down = np.dstack([pixels[::-1, :, ::-1], alpha()[::-1]])
    fives = pixels[::-1].astype(np.uint16)
    packed555 = (fives[..., 0] >> 3 << 10 | fives[..., 1] >> 3 << 5 | fives[..., 2] >> 3).astype("<u2").tobytes()
    packed565 = (fives[..., 0] >> 3 << 11 | fives[..., 1] >> 2 << 5 | fives[..., 2] >> 3).astype("<u2").tobytes()
    bgra = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    swapped = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    yield "BMP 24 bits", saved(rgb(), "BMP")
    yield "BMP 24 bits, odd width", saved(rgb(17, 31), "BMP")
    yield "BMP 24 bits, top-down", bmp_file(down[::-1, :, :3].tobytes(), 24, size=(WIDTH, -HEIGHT))
    yield "BMP 24 bits, version 4", bmp_file(down[..., :3].tobytes(), 24, header=108)
    yield "BMP 24 bits, version 5", bmp_file(down[..., :3].tobytes(), 24, header=124)
    yield "BMP 24 bits, OS/2", bmp_file(down[..., :3].tobytes(), 24, header=12)
    yield "BMP 1 bit", saved(rgb().convert("1"), "BMP")
    yield "BMP grey", saved(rgb().convert("L"), "BMP")
    yield "BMP palette", saved(rgb().quantize(200), "BMP")
    yield "BMP palette of 4 bits", bmp_file(bmp_rows(index, 4), 4, palette=four)
    os2 = b"".join(bytes(each[::-1]) for each in palette)
    yield "BMP palette of 4 bits, OS/2", bmp_file(bmp_rows(index, 4), 4, palette=os2, header=12)
    yield "BMP 16 bits", bmp_file(packed555, 16)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    yield "BMP 16 bits, 5-6-5", bmp_file(packed565, 16, compression=3, masks=masks)
    yield "BMP 32 bits", bmp_file(down.tobytes(), 32)
    yield "BMP 32 bits by Pillow", saved(rgba(), "BMP")
    yield "BMP 32 bits with alpha", bmp_file(down.tobytes(), 32, compression=3, masks=bgra, header=56)
    yield (
        "BMP 32 bits, channels swapped",
        bmp_file(down[..., [2, 1, 0, 3]].tobytes(), 32, compression=3, masks=swapped, header=56),
    )
    runs = b"".join(bytes((1, int(v))) for row in index[::-1] for v in row)
    rle8 = b"".join(runs[i : i + 2 * WIDTH] + b"\0\0" for i in range(0, len(runs), 2 * WIDTH)) + b"\0\1"
    yield "BMP run lengths", bmp_file(rle8, 8, palette=four, compression=1)


def heifs() -> Iterator[tuple[str, bytes]]:
    yield "AVIF", saved(rgb(64, 64), "AVIF", quality=90)
    yield "AVIF alpha", saved(rgba(64, 64), "AVIF", quality=90)
    yield "AVIF grey", saved(rgb(64, 64).convert("L"), "AVIF")
    for value in (3, 6):
        yield f"AVIF orientation {value}", saved(rgb(), "AVIF", quality=90, exif=exif(value))
    yield "AVIF animated", saved(rgb(), "AVIF", save_all=True, append_images=[rgb().rotate(180)])
    import pillow_heif

    pillow_heif.register_heif_opener()
    yield "HEIC", saved(rgb(64, 64), "HEIF", quality=90)
    yield "HEIC alpha", saved(rgba(64, 64), "HEIF", quality=90)
    yield "HEIC grey", saved(rgb(64, 64).convert("L"), "HEIF")
    for value in (3, 6):
        yield f"HEIC orientation {value}", saved(rgb(), "HEIF", quality=90, exif=exif(value).tobytes())


def others() -> Iterator[tuple[str, bytes]]:
    """Files that are no images of a format that is read."""
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    jpeg = saved(rgb(), "JPEG")
    yield "empty", b""
    yield "HTML page", b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"
    yield "HTML page without doctype", b"\n <html><head></head></html>"
    yield "Git LFS pointer", lfs
    yield "Xet pointer", b"# xet version 0\nfilesize = 12\nhash = 'ab'\n"
    yield "SVG", svg
    yield "SVG with XML declaration", b'<?xml version="1.0"?>\n<!-- a drawing -->\n' + svg
    yield "XML", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'
    yield "JSON", b'{"error": "rate limited"}'
    yield "text", b"See the other folder for this image.\n"
    yield "text in UTF-16", "not an image".encode("utf-16")
    yield "web address", b"https://example.org/a.jpg\n"
    yield "base64", base64.b64encode(jpeg)
    yield "data URI", b"data:image/jpeg;base64," + base64.b64encode(jpeg)
    yield "saved as text", jpeg.decode("utf-8", "replace").encode()
    yield "text mode PNG", saved(rgb(), "PNG").replace(b"\r\n", b"\n")
    yield "gzip", gzip.compress(jpeg)
    yield "ZIP", b"PK\3\4" + bytes(60)
    yield "MP4", box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + box(b"mdat", bytes(90))
    yield "zero bytes", bytes(5000)
    yield "random bytes", np.random.default_rng(3).bytes(900)
    for form in ("TIFF", "JPEG2000", "ICO", "PDF", "PPM", "DDS", "EPS", "ICNS", "TGA", "PCX", "SGI"):
        yield form, saved(rgb(64, 64), form)
    yield "TIFF, big-endian", b"MM\0*" + bytes(60)
    yield "PSD", b"8BPS\0\1" + bytes(60)
    yield "JPEG XL", b"\xff\x0a" + bytes(60)
    yield "NumPy array", b"\x93NUMPY\1\0" + bytes(60)
    yield "camera raw", b"II*\0\x10\0\0\0CR\x02\0" + bytes(60)
    yield "PNG of Apple", PNG + png_chunk(b"CgBI", b"\x50\0\x20\2") + png_chunk(b"IHDR", bytes(13))
    lossless = bytearray(jpeg)
    lossless[jpeg.index(b"\xff\xc0") + 1] = 0xC3
    yield "JPEG lossless", bytes(lossless)
    deep = bytearray(jpeg)
    deep[jpeg.index(b"\xff\xc0") + 4] = 12
    yield "JPEG of 12 bits", bytes(deep)


def damaged() -> Iterator[tuple[str, bytes]]:
    whole = {
        "JPEG": saved(rgb(), "JPEG"),
        "JPEG progressive": saved(rgb(), "JPEG", progressive=True),
        "PNG": saved(rgb(), "PNG"),
        "PNG alpha": saved(rgba(), "PNG"),
        "GIF": saved(rgb().quantize(64), "GIF"),
        "WebP": saved(rgb(), "WEBP"),
        "WebP alpha": saved(rgba(), "WEBP", lossless=True),
        "BMP": saved(rgb(), "BMP"),
        "BMP palette": saved(rgb().quantize(64), "BMP"),
        "AVIF": saved(rgb(64, 64), "AVIF"),
    }
    for name, data in whole.items():
        for share in (0.02, 0.5, 0.9):
            yield f"{name} cut to {share:.0%}", data[: max(int(len(data) * share), 11)]
    broken = bytearray(whole["PNG"])
    broken[broken.index(b"IDAT") + 30] ^= 0xFF
    yield "PNG with a changed byte", bytes(broken)
    yield "PNG that begins with another chunk", PNG + png_chunk(b"gAMA", bytes(4)) + whole["PNG"][8:]
    flat = bytearray(whole["JPEG"])
    flat[flat.index(b"\xff\xc0") + 5 : flat.index(b"\xff\xc0") + 7] = b"\0\0"
    yield "JPEG of no height", bytes(flat)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files of many pixels, which are refused by their header. TF Serving has no such limit."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    yield "PNG of 3.6 gigapixels", PNG + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")
    yield "GIF of 2.5 gigapixels", b"GIF89a" + struct.pack("<HHBBB", 50_000, 50_000, 0, 0, 0) + gif_frame() + b";"
    yield "GIF frame far outside", b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + gif_frame(60_000, 60_000) + b";"
    yield "BMP of 3.6 gigapixels", bmp_file(b"", 24, size=(60_000, -60_000))
    yield "BMP of one row", bmp_file(b"\0\2\0\xff\0\1", 8, compression=1, size=(40_000_000, 1))
    wide = bytearray(saved(rgb(), "WEBP", icc_profile=b"\0" * 9))
    wide[24:30] = b"\xff\xff\xff\xff\xff\xff"
    yield "WebP of many pixels", bytes(wide)
    yield "progressive JPEG of many scans", many_scans(3000, 3000, 2000)


def gif_frame(left: int = 0, top: int = 0) -> bytes:
    return b"\x2c" + struct.pack("<HHHHB", left, top, 1, 1, 0x80) + bytes(6) + b"\x02\x02\x4c\x01\x00"


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG that repeats its second scan."""
    data = saved(Image.new("L", (width, height), 99), "JPEG", progressive=True)
    starts = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    first, second = starts[1], starts[2] if len(starts) > 2 else len(data) - 2
    return data[:second] + data[first:second] * scans + data[second:]


def _clear_grey() -> np.ndarray:
    """Of the grey PNG of 4 bits, of which the level 3 is clear; Pillow compares it with pixels of 8 bits."""
    grey = np.repeat(colours()[..., :1] >> 4, 3, axis=2)
    return np.where(grey == 3, 255, 17 * grey).astype(np.uint8)


BY_HAND = {"PNG grey of 4 bits, clear": _clear_grey()}  # pixels that Pillow reads wrongly


def all_files() -> list[tuple[str, bytes]]:
    """Name and bytes of every file but the bombs."""
    makers: Sequence[Any] = (jpegs, pngs, gifs, webps, bmps, heifs, others, damaged)
    return [pair for make in makers for pair in make()]
