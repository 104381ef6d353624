"""What a file is that is not an image of a format that we read: named by its first bytes, with what to do about it."""

from __future__ import annotations

import re

from itembed_tf.git_pointer import pointer_problem

BITMAP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))
HEIF_BRANDS = frozenset(b"avif avis heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())
_TO_PNG = "convert it to PNG or JPEG"
_VIDEO = "a video, not an image; extract a frame as PNG or JPEG"


def _other(name: str) -> str:
    return f"{name}, which is not read; {_TO_PNG}"


HTML = "an HTML page, not an image; the download gave a page instead, such as an error"
SVG = _other("an SVG drawing")
UNKNOWN = "not an image of a known format (JPEG, PNG, GIF, BMP, WebP, AVIF and HEIC are read)"

# Offset and bytes at the start of a file, and what it is; the first match counts. The exported image encoder has the
# same table.
SIGNATURES = (
    *(
        (0, start, pointer_problem(start)[3:])
        for start in (b"version https://git-lfs.github.com/spec/", b"# xet version ")
    ),
    (4, b"ftypavif", f"an AVIF image; {_TO_PNG}"),
    (4, b"ftypavis", f"an animated AVIF image; {_TO_PNG}"),
    *((4, b"ftyp" + brand, f"a HEIC image; {_TO_PNG}") for brand in (b"hei", b"hev", b"mif1", b"msf1")),
    (4, b"ftypcrx ", _other("a camera's raw image")),
    (4, b"ftyp", _VIDEO),
    (8, b"CR\x02", _other("a camera's raw image")),
    (0, b"II*\0", _other("a TIFF image")),
    (0, b"MM\0*", _other("a TIFF image")),
    (0, b"II+\0", _other("a TIFF image")),
    (0, b"MM\0+", _other("a TIFF image")),
    (0, b"8BPS", _other("a PSD (Photoshop) image")),
    (0, b"\0\0\0\x0cjP  ", _other("a JPEG 2000 image")),
    (0, b"\xff\x4f\xff\x51", _other("a JPEG 2000 image")),
    (0, b"\0\0\0\x0cJXL ", _other("a JPEG XL image")),
    (0, b"\xff\x0a", _other("a JPEG XL image")),
    (0, b"II\xbc", _other("a JPEG XR image")),
    (0, b"\0\0\1\0", _other("an ICO (icon) image")),
    (0, b"\0\0\2\0\1", _other("a CUR (cursor) image")),
    (0, b"icns", _other("an ICNS (icon) image")),
    (0, b"%PDF", f"a PDF document, not an image; {_TO_PNG}, such as by pdftoppm -png"),
    (0, b"%!PS", f"a PostScript document, not an image; {_TO_PNG}"),
    (0, b"gimp xcf", _other("an XCF (GIMP) image")),
    (0, b"qoif", _other("a QOI image")),
    (0, b"\0\0\2" + bytes(9), _other("a TGA image")),
    (0, b"\0\0\n" + bytes(9), _other("a TGA image")),
    (0, b"\n\5\1", _other("a PCX image")),
    (0, b"\1\xda\0", _other("an SGI image")),
    (0, b"\1\xda\1", _other("an SGI image")),
    (0, b"DDS ", _other("a DDS (texture) image")),
    (0, b"#?RADIANCE", _other("a Radiance HDR image")),
    (0, b"v/1\x01", _other("an OpenEXR image")),
    (0, b"SIMPLE  =", _other("a FITS image")),
    (0, b"FUJIFILMCCD-RAW", _other("a camera's raw image")),
    *((0, b"P%d" % n + space, _other("a PNM image")) for n in range(1, 8) for space in (b" ", b"\n")),
    (128, b"DICM", _other("a DICOM image")),
    (8, b"AVI ", _VIDEO),
    (0, b"\x1a\x45\xdf\xa3", _VIDEO),
    (8, b"WAVE", "a sound, not an image"),
    (0, b"ID3", "a sound, not an image"),
    (0, b"\x1f\x8b", "a gzip file, not an image; unpack it"),
    (0, b"BZh", "a bzip2 file, not an image; unpack it"),
    (0, b"\xfd7zXZ", "an xz file, not an image; unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file, not an image; unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive, not an image; unpack it"),
    (0, b"Rar!", "a RAR archive, not an image; unpack it"),
    (0, b"PK\3\4", "a ZIP archive or an office document, not an image; unpack it"),
    (257, b"ustar", "a tar archive, not an image; unpack it"),
    (0, b"\x93NUMPY", "a NumPy array, not an image; save it as PNG"),
    (0, b"PAR1", "a Parquet file, not an image"),
    (0, b"\x89HDF", "an HDF5 file, not an image"),
    (0, b"SQLite format", "an SQLite database, not an image"),
    (0, b"\x7fELF", "a program, not an image"),
    (0, b"\x89PNG", "a PNG image damaged by a transfer in text mode; copy it again in binary mode"),
    (0, b"\xef\xbf\xbd", "binary data that was saved as text, which destroys it; copy it again in binary mode"),
    (0, b"/9j/", "a JPEG image as base64 text; decode it to bytes"),
    (0, b"iVBORw0KGgo", "a PNG image as base64 text; decode it to bytes"),
    (0, b"R0lGOD", "a GIF image as base64 text; decode it to bytes"),
    (0, b"UklGR", "a WebP image as base64 text; decode it to bytes"),
    (0, b"data:", "a data URI, not an image; decode its base64 text to bytes"),
    (0, b"http://", "a web address, not an image; download it"),
    (0, b"https://", "a web address, not an image; download it"),
)
_TEXTS = (  # how a text begins, after white space and comments
    (r"<!doctype html|<html|<head|<body", HTML),
    (r"<svg|<!doctype svg|<\?xml.{,900}<svg", SVG),
    (r"<\?xml|<[a-z]+[ >]", "an XML text, not an image"),
    (r"[\[{]", "a JSON text, not an image; the download gave an error instead, perhaps"),
)
_SHOWN = 40  # characters of a text


def describe(data: bytes) -> str:
    """What bytes are that are not an image that we read, as a phrase that fits after "is".

    Args:
        data: a whole file, or its first kilobyte.
    """
    if not data:
        return "an empty file"
    if pointer := pointer_problem(data):
        return pointer.removeprefix("is ")
    for offset, magic, what in SIGNATURES:
        if data.startswith(magic, offset):
            return what
    head = data[:1000].removeprefix(b"\xef\xbb\xbf")
    if not head.strip(b"\0"):
        return "a file of zero bytes only, as an interrupted copy leaves it; copy it again"
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = head.decode(encoding, "replace").strip()
    text = text[:-1] if len(data) > 1000 else text  # the limit may cut the last character
    plain = re.sub(r"^(\s*<!--.*?-->)+\s*", "", text, flags=re.DOTALL)
    for pattern, what in _TEXTS:
        if re.match(pattern, plain, re.IGNORECASE | re.DOTALL):
            return what
    if text and not re.search(r"[\x00-\x08\x0e-\x1f\x7f\ufffd]", text):
        shown = " ".join(text.split())
        return f"a text, not an image: {shown[:_SHOWN]!r}{'...' if len(shown) > _SHOWN else ''}"
    return f"{UNKNOWN}; it begins with the bytes {data[:8].hex(' ')}"
