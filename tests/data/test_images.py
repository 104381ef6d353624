"""Image decoding and augmentation: formats, geometry of crops, EXIF orientation, determinism."""

from __future__ import annotations

import base64
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import image_files
from benchmarks.image_formats import reference
from itembed_tf.data.decoding import decode_image
from itembed_tf.data.graph_formats import refusal
from itembed_tf.data.image_headers import read_header
from itembed_tf.data.image_metadata import exif_orientation, jpeg_exif
from itembed_tf.data.images import augment_image, load_crops, load_image, shrink_image
from itembed_tf.data.pillow_images import prepare_image

CROP = {"crop_area": (0.64, 1.0), "crop_aspect": (0.75, 1.3333), "flip": True}

# 8 x 8 images of plain red.
CMYK_JPEG = (
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUV"
    "FQwPFxgWFBgSFBUU/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABQAAQAAAAAAAAAAAAAAAAAAAAn/xAAUEAEAAAAAAAAAAAAAAAAA"
    "AAAA/9oADgRDAE0AWQBLAAA/AFTFUKoqb//Z"
)
PALETTE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAABlBMVEUAAAD/AAAb/40iAAAADUlEQVR4"
    "nGP4z8SADAEPcQEOqa2awAAAAABJRU5ErkJggg=="
)
CLEAR_PALETTE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAABlBMVEUAAAD/AAAb/40iAAAAAnRSTlP/AOW3MEoAAAANSURBVHicY/jPxIAMAQ9xAQ6prZrAAAAA"
    "AElFTkSuQmCC"
)
TWO_FRAME_GIF = (
    "R0lGODdhCAAIAIEAAP8AAAAAAAAAAAAAACwAAAAACAAIAAAIDwABCBxIsKDBgwgTKkwYEAAh+QQBAAABACwAAAAACAAIAIEAAP8AAAAAAAAAAAAIDwABCBxI"
    "sKDBgwgTKkwYEAA7"
)
WEBP = "UklGRhwAAABXRUJQVlA4TA8AAAAvB8ABAAcQ/Y/+ByKi/wEA"


def gradients(height: int, width: int) -> np.ndarray:
    """Red increases from left (0) to right (255), green from top to bottom, blue is 128."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[..., 0] = np.round(np.linspace(0, 255, width))[None, :]
    image[..., 1] = np.round(np.linspace(0, 255, height))[:, None]
    return image


def png(image: np.ndarray) -> bytes:
    return tf.io.encode_png(image).numpy()


def load(data: bytes, size: int = 32, fit: str = "stretch") -> np.ndarray:
    return load_image(tf.constant(data), size=size, fit=fit).numpy()


def bmp_red() -> bytes:
    header = b"BM" + struct.pack("<IHHI", 54 + 8 * 24, 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, 8 * 24, 0, 0, 0, 0) + b"\x00\x00\xff" * 64


@pytest.mark.parametrize(
    "data",
    [base64.b64decode(text) for text in (CMYK_JPEG, PALETTE_PNG, TWO_FRAME_GIF, WEBP)] + [bmp_red()],
    ids=["cmyk jpeg", "palette png", "gif", "webp", "bmp"],
)
def test_every_format_decodes_to_red(data: bytes) -> None:
    pixels = load(data)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.float32
    # A CMYK JPEG comes back within a few levels; every other format exactly.
    assert np.allclose(pixels, [255, 0, 0], atol=3)


def test_grey_images_have_three_equal_channels() -> None:
    grey = gradients(40, 40)[..., :1]
    for data in (tf.io.encode_jpeg(grey, quality=100).numpy(), png(grey), png(grey.astype(np.uint16) * 257)):
        pixels = load(data, size=40)
        assert np.allclose(pixels, grey, atol=2)


def test_transparency_is_composed_on_white() -> None:
    drawing = np.zeros((8, 8, 4), np.uint8)
    drawing[:, 4:, 3] = 255  # left half clear (and black below), right half opaque black
    pixels = load(png(drawing), size=8)
    assert (pixels[:, :4] == 255).all() and (pixels[:, 4:] == 0).all()
    drawing[..., 3] = 51  # one fifth black: 204 of white left
    assert np.allclose(load(png(drawing), size=8), 204)
    assert (load(base64.b64decode(CLEAR_PALETTE_PNG)) == 255).all()


READ = [*image_files.pngs(), *image_files.webps(), *image_files.gifs(), *image_files.bmps()]
GRAPH = [(name, data) for name, data in READ if not read_header(data).only_pillow]


@pytest.fixture(scope="module")
def decode():
    """The whole image, of its own size: what `load_crops` cuts boxes from."""
    return lambda data: decode_image(data, 1 << 20)


@pytest.mark.parametrize(("name", "data"), GRAPH, ids=[name for name, _ in GRAPH])
def test_the_graph_decodes_to_the_pixels_of_pillow_on_white(name, data, decode) -> None:
    expected = reference(name, data)
    pixels = decode(tf.constant(data)).numpy()
    assert pixels.shape == expected.shape and np.abs(pixels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(("name", "data"), READ, ids=[name for name, _ in READ])
def test_what_the_graph_refuses_is_what_python_decodes_before(name, data, decode) -> None:
    reason = refusal(data).numpy().decode()
    assert bool(reason) == bool(read_header(data).only_pillow), reason
    if reason:
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(tf.constant(data))
    prepared = prepare_image(data)
    assert refusal(prepared).numpy() == b"" and (prepared is data or prepared[:2] == b"BM")
    pixels = decode(tf.constant(prepared)).numpy()
    assert np.abs(pixels.astype(int) - reference(name, data)).max() <= 2


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("encode", [tf.io.encode_jpeg, tf.io.encode_png], ids=["jpeg", "png"])
def test_truncated_images_are_an_error(encode: object, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(noise).numpy()
    truncated = data[: int(len(data) * share)]
    with pytest.raises(tf.errors.InvalidArgumentError):
        load(truncated)
    with pytest.raises(tf.errors.InvalidArgumentError):
        augment_image(tf.constant(truncated), [1, 2], size=32, **CROP)


def test_other_bytes_are_an_error() -> None:
    for data in (b"", b"\x89PNG", b"\xff\xd8\xff", b"not an image"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            load(data)


def test_stretch_keeps_the_whole_image_and_crop_its_centre() -> None:
    data = png(gradients(100, 200))
    stretched, cropped = load(data, 50), load(data, 50, "crop")
    assert stretched[25, 0, 0] < 4 and stretched[25, -1, 0] > 251
    # The central 100 of 200 columns: red from a quarter to three quarters, green unchanged.
    assert cropped[25, 0, 0] == pytest.approx(64, abs=3) and cropped[25, -1, 0] == pytest.approx(191, abs=3)
    assert np.allclose(cropped[..., 1], stretched[..., 1], atol=1)


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    # Without antialiasing every output pixel would be black or white.
    assert np.allclose(load(png(stripes), 32)[:, 2:-2], 127.5, atol=3)


def test_a_large_jpeg_scaled_in_the_decoder_has_the_same_pixels() -> None:
    image = gradients(700, 900)
    small = load(tf.io.encode_jpeg(image, quality=95).numpy(), 32)
    assert np.allclose(small, load(png(image), 32), atol=4)


def test_unknown_fit_and_invalid_ranges_are_errors() -> None:
    with pytest.raises(ValueError, match="stretch or crop"):
        load(b"", fit="pad")
    with pytest.raises(ValueError, match="crop_area"):
        augment_image(tf.constant(b""), [0, 0], size=8, crop_area=(0.9, 0.1), crop_aspect=(1, 1), flip=True)
    with pytest.raises(ValueError, match="crop_aspect"):
        augment_image(tf.constant(b""), [0, 0], size=8, crop_area=(0.1, 0.9), crop_aspect=(0.0, 1), flip=True)


def crops(data: bytes, count: int, size: int = 64, **settings: object) -> np.ndarray:
    """`count` crops, computed in a graph as in training."""
    seeds = tf.stack([tf.range(count), tf.fill([count], 7)], axis=1)

    @tf.function(autograph=False)
    def one(seed: tf.Tensor) -> tf.Tensor:
        return augment_image(data, seed, size=size, **{**CROP, **settings})

    return np.stack([one(seed).numpy() for seed in seeds])


def test_crops_are_inside_with_the_configured_area_and_aspect_and_half_are_mirrored() -> None:
    height, width = 150, 300
    found = crops(png(gradients(height, width)), 300)
    assert found.min() >= 0 and found.max() <= 255
    assert np.allclose(found[..., 2], 128)  # blue would darken if a crop reached outside
    # The gradients show where each crop is: slope times size is its share of the side.
    across = (found[:, 32, -8, 0] - found[:, 32, 7, 0]) / (64 - 15) * 64 / 255
    down = (found[:, -8, 32, 1] - found[:, 7, 32, 1]) / (64 - 15) * 64 / 255
    aspect = np.abs(across) * width / (down * height)
    assert 0.73 < aspect.min() < 0.80 and 1.25 < aspect.max() < 1.37
    largest = aspect * height**2  # the image is twice as wide as high, so that the height limits every aspect
    share = np.abs(across) * down * width * height / largest
    assert 0.62 < share.min() < 0.68 and 0.96 < share.max() < 1.03
    assert 0.78 < share.mean() < 0.86  # uniform in [0.64, 1]: 0.82
    assert 0.40 < (across < 0).mean() < 0.60
    assert (crops(png(gradients(height, width)), 20, flip=False)[:, 32, -8, 0] > 60).all()


def test_crops_reach_every_border() -> None:
    found = crops(png(gradients(90, 60)), 200, flip=False, crop_area=(0.25, 0.5))
    assert found[..., 0].min() < 6 and found[..., 0].max() > 249
    assert found[..., 1].min() < 6 and found[..., 1].max() > 249


def test_the_same_seed_gives_the_same_pixels() -> None:
    data = tf.io.encode_jpeg(gradients(90, 120), quality=90).numpy()
    first, again = crops(data, 8), crops(data, 8)
    assert (first == again).all()
    assert len({crop.tobytes() for crop in first}) == 8


def test_a_crop_of_the_full_area_is_the_whole_image() -> None:
    data = tf.io.encode_jpeg(gradients(80, 80), quality=90).numpy()
    whole = augment_image(tf.constant(data), [3, 4], size=32, crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip=False)
    assert (whole.numpy() == load(data)).all()


def test_an_image_of_one_pixel_works() -> None:
    data = png(np.full((1, 1, 3), 9, np.uint8))
    assert np.allclose(load(data, fit="crop"), 9)
    assert np.allclose(augment_image(tf.constant(data), [1, 1], size=32, **CROP), 9)


def tagged(orientation: int, order: str = "II", segments: bytes = b"", kind: int = 3) -> bytes:
    """A JPEG of 60 x 40 pixels with that EXIF orientation after two other entries, in either byte order."""
    data = tf.io.encode_jpeg(gradients(40, 60), quality=95, chroma_downsampling=False).numpy()
    mark = "<" if order == "II" else ">"
    value = struct.pack(mark + "HH", orientation, 0) if kind == 3 else struct.pack(mark + "I", orientation)
    entries = [(0x010E, 3, b"\5\5\5\5"), (0x010F, 3, b"\6\6\6\6"), (0x0112, kind, value)]
    directory = b"".join(struct.pack(mark + "HHI", tag, of, 1) + held for tag, of, held in entries)
    tiff = order.encode() + struct.pack(mark + "HI", 42, 10) + b"\0\0" + struct.pack(mark + "H", 3) + directory
    segment = b"Exif\0\0" + tiff + b"\0" * 4
    return data[:2] + segments + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


# The transpose that shows each orientation upright, in Pillow's names.
TURNS = dict(enumerate(("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE"), start=2))
TURNS |= dict(enumerate(("ROTATE_270", "TRANSVERSE", "ROTATE_90"), start=6))


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, order: str) -> None:
    data = tagged(orientation, order)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[0x0112] == orientation
        turn = Image.Transpose[TURNS[orientation]] if orientation > 1 else None
        upright = np.asarray(image if turn is None else image.transpose(turn))
    assert upright.shape == ((60, 40, 3) if orientation >= 5 else (40, 60, 3))
    for fit in ("stretch", "crop"):
        assert np.abs(load(data, fit=fit) - load(png(upright), fit=fit)).max() <= 1
    whole = augment_image(tf.constant(data), [0, 0], size=32, crop_area=(1, 1), crop_aspect=(1.5, 1.5), flip=False)
    other = augment_image(
        tf.constant(png(upright)), [0, 0], size=32, crop_area=(1, 1), crop_aspect=(1.5, 1.5), flip=False
    )
    assert np.abs(whole - other).max() <= 1, "training and evaluation must decode alike"


def test_a_shrunk_jpeg_keeps_its_orientation() -> None:
    data = tagged(6)
    for short_side in (20, 100):  # encoded again without EXIF data, and copied with it
        small = shrink_image(tf.constant(data), short_side=short_side, quality=95)
        assert np.abs(load(small.numpy(), 16) - load(data, 16)).max() < 6


def test_exif_data_is_found_after_other_segments_and_only_if_valid() -> None:
    def orientation(data: bytes) -> int:
        return int(exif_orientation(data, jpeg_exif(data)))

    jfif, comment = b"\xff\xe0\0\x10JFIF\0" + b"\1" * 9, b"\xff\xfe\0\x06Exif"
    assert orientation(tagged(8, "MM", jfif + comment)) == 8
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 60_000
    assert orientation(tagged(8, "MM", b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp)) == 8
    assert orientation(tf.io.encode_jpeg(gradients(4, 4)).numpy()) == 1
    assert [orientation(tagged(value)) for value in (0, 9, 65535)] == [1, 1, 1]
    assert orientation(tagged(6, kind=4)) == 1, "the standard says SHORT"


def test_invalid_exif_data_never_breaks_decoding() -> None:
    whole, random = tagged(6), np.random.default_rng(0)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def orientation(data: tf.Tensor) -> tf.Tensor:
        return exif_orientation(data, jpeg_exif(data))

    assert all(1 <= int(orientation(tf.constant(whole[:n]))) <= 8 for n in range(3, 90))
    for _ in range(200):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(4, 70, 3)] = random.integers(0, 256, 3)
        assert 1 <= int(orientation(tf.constant(data.tobytes()))) <= 8
    assert load(whole.replace(b"II*", b"\xff\xff\xff")).shape == (32, 32, 3)


def test_box_crops_equal_separate_images():
    """Each box is resized like a separate image; its last row and column are included."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    boxes = [(0, 0, 59, 39), (10, 5, 29, 24), (59, 39, 59, 39)]

    def png(part):
        buffer = io.BytesIO()
        Image.fromarray(part).save(buffer, "PNG")
        return buffer.getvalue()

    found = load_crops(png(pixels), tf.constant(boxes, tf.int32), size=16)
    assert found.shape == (3, 16, 16, 3)
    for crop, (left, top, right, bottom) in zip(found, boxes):
        alone = load_image(png(pixels[top : bottom + 1, left : right + 1]), size=16, fit="stretch")
        np.testing.assert_allclose(crop, alone, atol=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        load_crops(png(pixels), tf.constant([(0, 0, 60, 39)], tf.int32), size=16)
