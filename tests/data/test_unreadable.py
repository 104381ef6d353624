"""What becomes of pictures that cannot be read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from itembed_tf.data.images import load_image
from itembed_tf.data.readers import Group
from itembed_tf.data.unreadable import TooManyUnreadable, drop_unreadable, find_unreadable


def png(value: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((40, 48, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def mixed(tmp_path: Path) -> list[Group]:
    """4 groups with 6 pictures: one cut short, one that is text, one that is not there."""
    (tmp_path / "good.png").write_bytes(png())
    (tmp_path / "cut.png").write_bytes(png(3)[:60])
    (tmp_path / "words.jpg").write_text("not a picture")
    at = {name: str(tmp_path / name) for name in ("good.png", "cut.png", "words.jpg", "gone.png")}
    return [
        Group("a", (at["good.png"], at["cut.png"]), ("x",), "train"),
        Group("b", (at["words.jpg"],), ("y",), "train"),
        Group("c", (at["gone.png"],), ("z",), "dev"),
        Group("d", (png(9), png(9)[:50]), ("w",), "dev"),
    ]


def test_broken_pictures_are_found_and_named(mixed):
    broken = find_unreadable(mixed)
    assert [Path(b["image"]).name for b in broken] == ["cut.png", "words.jpg", "gone.png", "d, picture 2"]
    assert all(b["reason"] for b in broken)
    assert "No such file" in broken[2]["reason"]


def test_broken_pictures_are_left_out_and_groups_without_any(mixed):
    kept = drop_unreadable(mixed, find_unreadable(mixed), max_percent=70)
    assert [g.id for g in kept] == ["a", "d"]
    assert [Path(i).name for i in kept[0].images] == ["good.png"]
    assert kept[1].images == (png(9),)


def test_too_many_broken_pictures_stop_with_the_list(mixed):
    broken = find_unreadable(mixed)
    with pytest.raises(TooManyUnreadable, match=r"4 of 6 pictures cannot be read.*max_broken_percent") as error:
        drop_unreadable(mixed, broken, max_percent=66)
    assert "words.jpg" in str(error.value) and "d, picture 2" in str(error.value)
    assert drop_unreadable(mixed, broken[:0], max_percent=0) == mixed


def test_pictures_are_checked_by_the_decoder_that_training_uses():
    """A PNG with 4 bits a pixel is one that decoders differ on; what passes the check must load."""
    out = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 16).convert("P").save(out, "PNG", bits=4)
    jpeg = io.BytesIO()
    Image.fromarray(np.full((700, 600, 3), 90, np.uint8)).save(jpeg, "JPEG")
    pictures = (out.getvalue(), jpeg.getvalue(), jpeg.getvalue()[:600])
    broken = {b["image"] for b in find_unreadable([Group("g", pictures, ("x",), "train")])}
    assert broken == {"g, picture 3"}
    for picture in pictures[:2]:
        load_image(tf.constant(picture), size=32, fit="stretch")
