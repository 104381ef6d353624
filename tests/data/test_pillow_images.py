"""Images that Pillow decodes before the graph: HEIC, AVIF, missing packages, and files that contradict themselves."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from benchmarks import image_files
from benchmarks.image_formats import pillow_on_white
from itembed_tf.data import pillow_images
from itembed_tf.data.image_headers import ImageError
from itembed_tf.data.pillow_images import prepare_image


def pixels_of(bmp: bytes) -> np.ndarray:
    assert bmp[:2] == b"BM"
    return np.asarray(Image.open(io.BytesIO(bmp)))


@pytest.mark.parametrize("name", ["AVIF", "HEIC"])
def test_images_of_phones_are_decoded_on_white_and_upright(name):
    if name == "HEIC":
        pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    elif not features.check("avif"):
        pytest.skip("this Pillow has no AVIF decoder")
    files = dict(image_files.heifs())
    for kind in ("", " alpha", " grey", " orientation 3", " orientation 6"):
        found = pixels_of(prepare_image(files[name + kind]))
        assert np.array_equal(found, pillow_on_white(files[name + kind]))
    assert found.shape == (48, 40, 3), "orientation 6 exchanges width and height"
    assert found[0, -1, 0] < 60 < 200 < found[-1, -1, 0], "red increases downwards once the image is upright"


def test_a_missing_package_is_named(monkeypatch):
    size = image_files.box(b"iprp", image_files.box(b"ipco", image_files.box(b"ispe", struct.pack(">III", 0, 9, 9))))
    heic = image_files.box(b"ftyp", b"heic\0\0\0\0") + image_files.box(b"meta", bytes(4) + size)
    pillow_images._register_heif.cache_clear()
    monkeypatch.setattr("itembed_tf.extras.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"a HEIC image; .*pip install 'itembed_tf\[heif\]', or convert them"):
        prepare_image(heic)
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(ImageError, match="an AVIF image, which this build of Pillow cannot read"):
        prepare_image(heic.replace(b"heic", b"avif"))


def test_pixels_are_counted_before_decoding():
    avif = image_files.saved(image_files.rgb(640, 640), "AVIF")
    size = avif.index(b"ispe") + 8
    with pytest.raises(ImageError, match=r"the maximum is 50,000,000"):
        prepare_image(avif[:size] + struct.pack(">II", 60_000, 60_000) + avif[size + 8 :])


def test_what_tensorflow_decodes_passes_unchanged():
    for name, data in (*image_files.jpegs(), *image_files.pngs()):
        assert prepare_image(data) is data, name
    assert prepare_image(image_files.saved(image_files.rgba(), "WEBP"))[:4] == b"RIFF"
