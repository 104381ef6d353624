"""WebDataset shards: images stay in the tar file, and what is damaged is left out and reported."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from benchmarks.layouts import put, tar
from itembed_tf.data.readers import FilePart, Group, read_dataset, read_image

SAMPLES = [(f"{n:05d}", f"image {n}".encode() * 100, f"caption {n}") for n in range(6)]


def members(samples: list[tuple[str, bytes, str]] = SAMPLES) -> list[tuple[str, bytes]]:
    return [pair for key, data, text in samples for pair in ((f"{key}.jpg", data), (f"{key}.txt", text.encode()))]


def read(root: Path, **settings: str) -> list[Group]:
    return read_dataset(name="folder", root=str(root), splits=("train",), held_out_percent=1, **settings)


def test_images_are_parts_of_the_shard(tmp_path: Path) -> None:
    put(tmp_path / "00000.tar", tar(members()))
    groups = read(tmp_path)
    assert [(group.id, group.captions) for group in groups] == [(f"00000.tar/{k}", (text,)) for k, _, text in SAMPLES]
    assert all(isinstance(group.images[0], FilePart) for group in groups)
    assert [read_image(group.images[0]) for group in groups] == [data for _, data, _ in SAMPLES]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_every_form_of_tar(form: int, tmp_path: Path) -> None:
    buffer, key = io.BytesIO(), "folder/" * 14 + "k" * 90
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in ((f"{key}.JPG", b"image"), (f"{key}.json", json.dumps({"text": ["a", "b"]}).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    put(tmp_path / "mine.tar", buffer.getvalue())
    (group,) = read(tmp_path)
    assert group.captions == ("a", "b") and read_image(group.images[0]) == b"image"


def test_a_caption_column_is_an_ending_or_a_key_of_the_json(tmp_path: Path) -> None:
    values = json.dumps({"caption": "of json", "alt": "alt"}).encode()
    put(tmp_path / "a.tar", tar([("0.jpg", b"x"), ("0.txt", b"of text"), ("0.json", values)]))
    assert read(tmp_path)[0].captions == ("of text",)
    assert read(tmp_path, caption_column="caption")[0].captions == ("of json",)
    assert read(tmp_path, caption_column="alt")[0].captions == ("alt",)


def test_incomplete_samples_are_left_out_and_reported(tmp_path: Path) -> None:
    more = [("x.jpg", b"x"), ("y.txt", b"text"), ("z.jpg", b"z"), ("z.json", b"{"), ("n.jpg", b"n"), ("n.json", b"{}")]
    put(tmp_path / "a.tar", tar([*members(), *more]))
    with pytest.warns(UserWarning) as caught:
        assert len(read(tmp_path)) == 6
    text = "\n".join(str(each.message) for each in caught)
    assert "incomplete samples, which are left out: 4" in text
    assert "a.tar/x: no caption" in text and "a.tar/y: no image" in text and "a.tar/n: no caption" in text
    assert "the caption or JSON of a.tar/z cannot be read" in text


def test_a_damaged_header_costs_one_member(tmp_path: Path) -> None:
    whole = bytearray(tar(members()))
    start = whole.index(b"00002.jpg")
    whole[start : start + 9] = b"#########"  # the checksum of the header is wrong now
    put(tmp_path / "a.tar", bytes(whole))
    with pytest.warns(
        UserWarning, match=r"damaged places, whose content is left out: 1\n.*bytes from byte [\d,]+ are no"
    ):
        groups = read(tmp_path)
    assert [group.captions[0] for group in groups] == [text for key, _, text in SAMPLES if key != "00002"]


def test_a_cut_shard_has_what_is_before_the_cut(tmp_path: Path) -> None:
    whole = tar(members())
    put(tmp_path / "a.tar", whole[: whole.index(b"00004.txt") + 300])
    with pytest.warns(UserWarning, match="incomplete samples, which are left out: 1\n.*00004: no caption"):
        assert len(read(tmp_path)) == 4
    put(tmp_path / "a.tar", whole[: whole.index(b"00004.jpg") + 600])
    with pytest.warns(UserWarning, match="within its last member, perhaps an incomplete copy"):
        assert len(read(tmp_path)) == 4
    put(tmp_path / "a.tar", whole[: whole.index(b"00004.jpg")])
    with pytest.warns(UserWarning, match="without the mark of an end, perhaps an incomplete copy"):
        assert len(read(tmp_path)) == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tar", b"<!DOCTYPE html>" * 100, "is not a tar file, or is empty; is the download incomplete"),
        ("a.tar", b"", "is not a tar file, or is empty"),
        ("a.tar", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer: run git lfs pull"),
        ("a.tar.gz", b"\x1f\x8b\x08", "is compressed; run gunzip on it"),
    ],
)
def test_what_is_no_shard_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    put(tmp_path / name, content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)
