"""Unreadable images are found, left out, or refused."""

from __future__ import annotations

import io
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import image_files
from itembed_tf.data.images import load_image
from itembed_tf.data.readers import Group
from itembed_tf.data.readers.group import MAX_BYTES
from itembed_tf.data.unreadable import (
    TooManyUnreadable,
    UnreadableImage,
    drop_unreadable,
    find_unreadable,
    or_unreadable,
)
from tests.support.images import image_bytes


def png(value: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((40, 48, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def mixed(tmp_path: Path) -> list[Group]:
    """4 groups with 6 images: two truncated, one that is text, one that is missing."""
    (tmp_path / "good.png").write_bytes(png())
    (tmp_path / "cut.png").write_bytes(png(3)[:60])
    (tmp_path / "words.jpg").write_text("not a image")
    at = {name: str(tmp_path / name) for name in ("good.png", "cut.png", "words.jpg", "gone.png")}
    return [
        Group("a", (at["good.png"], at["cut.png"]), ("x",), "train"),
        Group("b", (at["words.jpg"],), ("y",), "train"),
        Group("c", (at["gone.png"],), ("z",), "dev"),
        Group("d", (png(9), png(9)[:50]), ("w",), "dev"),
    ]


def test_unreadable_images_are_found_and_named(mixed):
    unreadable = find_unreadable(mixed)
    assert [Path(each.image).name for each in unreadable] == ["cut.png", "words.jpg", "gone.png", "d, image 2"]
    assert [each.reason for each in unreadable] == [
        "a truncated PNG image: it is not complete",
        "a text, not an image: 'not a image'",
        "missing: there is no such file",
        "a truncated PNG image: it is not complete",
    ]


def test_unreadable_images_and_groups_without_other_images_are_left_out(mixed):
    readable = drop_unreadable(mixed, find_unreadable(mixed), max_percent=70)
    assert [g.id for g in readable] == ["a", "d"]
    assert [Path(i).name for i in readable[0].images] == ["good.png"]
    assert readable[1].images == (png(9),)


def test_too_many_unreadable_images_are_refused_with_a_list(mixed):
    unreadable = find_unreadable(mixed)
    with pytest.raises(TooManyUnreadable, match=r"4 of 6 images are unreadable.*max_broken_percent") as error:
        drop_unreadable(mixed, unreadable, max_percent=66)
    assert "words.jpg" in str(error.value) and "d, image 2" in str(error.value)
    assert drop_unreadable(mixed, [], max_percent=0) == mixed


def test_every_reason_says_what_the_file_is(tmp_path):
    """None is a message of TensorFlow, Pillow or the system, which names nodes, objects or nothing."""
    files = [*image_files.others(), *image_files.damaged(), *image_files.bombs()]
    groups = [Group(name, (data,), ("x",), "train") for name, data in files]
    reasons = {each.image.rsplit(", ", 1)[0]: each.reason for each in find_unreadable(groups)}
    missed = {name for name, _ in files} - reasons.keys()
    assert missed == set(), "only these are damaged in a way that decoders accept"
    for reason in reasons.values():
        assert re.match(r"(a|an|not an|binary data) ?", reason) and not re.search(r"Graph|\{\{|Op:|<_io|0x", reason)
    assert reasons["JPEG cut to 50%"] == "a truncated JPEG image: it is not complete"
    assert reasons["PNG with a changed byte"] == "a damaged PNG image"
    assert reasons["BMP palette cut to 50%"] == "a truncated BMP image: it is not complete"


def test_files_that_cannot_be_read_say_why(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    reasons = find_unreadable([Group("g", tuple(map(str, sorted(tmp_path.iterdir()))), ("x",), "train")])
    folder, link, pipe, sparse = (each.reason for each in reasons)
    assert folder == "a folder, not an image" and link.startswith("missing")
    assert "is a pipe" in pipe and "1,073,741,825 bytes; the maximum" in sparse


def test_images_above_the_maximum_are_not_decoded():
    image = image_bytes(1, size=(300, 200))
    (found,) = find_unreadable([Group("g", (image, png()), ("x",), "train")], max_pixels=59_999)
    assert found.reason == "a PNG image of 300 x 200 = 60,000 pixels; the maximum is 59,999 (max_pixels)"
    assert not find_unreadable([Group("g", (image,), ("x",), "train")], max_pixels=60_000)


def test_images_are_checked_with_the_decoder_of_training():
    """Decoders differ on PNGs with 4 bits a pixel; an image that passes the check must load."""
    out = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 16).convert("P").save(out, "PNG", bits=4)
    jpeg = io.BytesIO()
    Image.fromarray(np.full((700, 600, 3), 90, np.uint8)).save(jpeg, "JPEG")
    images = (out.getvalue(), jpeg.getvalue(), jpeg.getvalue()[:600])
    unreadable = {each.image for each in find_unreadable([Group("g", images, ("x",), "train")])}
    assert unreadable == {"g, image 3"}
    for image in images[:2]:
        load_image(tf.constant(image), size=32, fit="stretch")


def test_an_image_that_pillow_has_decoded_is_not_decoded_again_to_check_it() -> None:
    """TensorFlow keeps the memory of its last large images, three bytes a pixel."""
    decoded: list[int] = []

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(data: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda content: decoded.append(len(content)) or 1, [data], tf.int64)

    check = or_unreadable(decode, 10**6, only_check=True)
    assert check(("a", image_bytes(1, "AVIF"))) is None and check(("b", image_bytes(1, "GIF"))) is None
    assert decoded == []
    assert isinstance(check(("c", image_bytes(1, "AVIF")[:300])), UnreadableImage)
    check(("d", image_bytes(1, "PNG")))
    assert decoded == [len(image_bytes(1, "PNG"))]


def test_a_decoder_is_set_up_by_one_thread_while_the_others_wait():
    """TensorFlow sets a function up at its first call, and in every thread that calls it meanwhile."""
    begun, begun_after_the_first = [], []

    def decode(data: tf.Tensor) -> tf.Tensor:
        begun.append(data)
        if len(begun) == 1:
            time.sleep(0.3)
            begun_after_the_first.append(len(begun))
        return data

    call = or_unreadable(SimpleNamespace(get_concrete_function=lambda: decode), max_pixels=10_000)
    image = image_bytes(1)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, [("a", image)] * 8)) == [image] * 8
    assert begun_after_the_first == [1]
