"""Packing a data set: nothing is lost, small pictures stay as they are, and a stopped packing goes on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.drawn import drawn_flickr8k
from itembed_tf.data import packing as pack_module
from itembed_tf.data.batches import flatten
from itembed_tf.data.images import load_image, shrink_image
from itembed_tf.data.readers import FilePart, read_dataset, read_image
from itembed_tf.data.sources import image_source
from itembed_tf.prepare import main

ARGUMENTS = {"split_by": "base", "held_out_percent": 10, "merge": "", "leaks": "refuse"}


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    return drawn_flickr8k(tmp_path / "pictures")


def command(root: str, out: Path, *more: str) -> list[str]:
    settings = ["dataset.name=flickr8k", f"dataset.root={json.dumps(root)}", 'dataset.splits=["train", "dev"]']
    return [
        *_config(out),
        *(part for setting in settings for part in ("--set", setting)),
        "--shard-images",
        "10",
        *more,
    ]


def _config(out: Path) -> list[str]:
    config = out.parent / "mine.toml"
    config.write_text("", encoding="utf-8")
    return [str(config), str(out)]


def read(root: str = "", shards: str = "", splits: tuple[str, ...] = ("train", "dev"), **more: str):
    return read_dataset(name="flickr8k", root=root, shards=shards, splits=splits, **(ARGUMENTS | more))


def test_shards_hold_the_same_groups_and_training_reads_their_pictures(pictures, tmp_path, capsys):
    out = tmp_path / "shards"
    assert main(command(pictures, out)) == 0
    said = capsys.readouterr().out
    assert f"--set dataset.shards={out}" in said and "not packed: test" in said
    packed, source = read(shards=str(out)), read(pictures)
    assert [(g.id, g.captions, g.split) for g in packed] == [(g.id, g.captions, g.split) for g in source]
    assert len(list(out.glob("train-*-of-00003.tfrecord"))) == 3, "24 training pictures, 10 a shard"
    for one, other in zip(packed, source, strict=True):
        assert read_image(one.images[0]) == Path(other.images[0]).read_bytes(), "64 pixels need no shrinking"
    items = flatten(packed)
    load = image_source(items.images, lambda data, seed: load_image(data, size=32, fit="stretch"))
    (batch,) = load(np.array([[5, 0, 23]]), np.zeros((1, 3, 2), np.int32))
    wanted = load_image(tf.constant(Path(flatten(source).images[5]).read_bytes()), size=32, fit="stretch")
    np.testing.assert_array_equal(batch["image"][0], wanted)


def test_any_tensorflow_program_can_read_the_records(pictures, tmp_path):
    out = tmp_path / "shards"
    assert main(command(pictures, out)) == 0
    records = tf.data.TFRecordDataset([str(path) for path in sorted(out.glob("train-*.tfrecord"))])
    features = {"id": tf.io.FixedLenFeature((), tf.string), "captions": tf.io.VarLenFeature(tf.string)}
    found = [
        tf.io.parse_single_example(record, features | {"images": tf.io.VarLenFeature(tf.string)}) for record in records
    ]
    source = read(pictures, splits=("train",))
    assert [f["id"].numpy().decode() for f in found] == [g.id for g in source]
    assert [f["captions"].values.numpy().tolist() for f in found] == [[c.encode() for c in g.captions] for g in source]
    assert tf.io.decode_jpeg(found[0]["images"].values[0]).shape == (64, 64, 3)


def test_a_killed_packing_goes_on_where_it_was(pictures, tmp_path, monkeypatch, capsys):
    whole, out = tmp_path / "whole", tmp_path / "shards"
    assert main(command(pictures, whole)) == 0
    write, written = pack_module._write_shard, []

    def killed_in_the_third(path, groups, encode_all, bar):
        written.append(path.name)
        if len(written) == 3:
            path.with_suffix(".partial").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, groups, encode_all, bar)

    monkeypatch.setattr(pack_module, "_write_shard", killed_in_the_third)
    assert main(command(pictures, out)) == 130
    assert "interrupted; continue with: " in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"the index of a shard is missing.*goes on where it was stopped"):
        read(shards=str(out))
    written.clear()
    monkeypatch.setattr(pack_module, "_write_shard", lambda *given: (written.append(given[0].name), write(*given)))
    assert main(command(pictures, out)) == 0
    assert written == ["train-00002-of-00003.tfrecord", "dev-00000-of-00001.tfrecord"], "two were whole"
    names = {path.name for path in whole.iterdir()}
    assert {path.name for path in out.iterdir()} == names
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in names)


def test_another_packing_is_not_mixed_in(pictures, tmp_path, capsys):
    out = tmp_path / "shards"
    assert main(command(pictures, out)) == 0
    assert main(command(pictures, out, "--short-side", "48")) == 1
    assert "short_side was 256 and is 48" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"packed with dataset.split_by = 'base', and 'karpathy' is asked for"):
        read(shards=str(out), split_by="karpathy")
    with pytest.raises(ValueError, match=r"(dev, train|train, dev) was packed, not test"):
        read(shards=str(out), splits=("train", "test"))


def test_broken_pictures_are_left_out_counted_and_named(pictures, tmp_path, capsys):
    out = tmp_path / "shards"
    (Path(pictures) / "Images" / "03.jpg").write_bytes(b"\xff\xd8\xff half a picture")
    assert main(command(pictures, out)) == 1, "1 of 32 is more than one percent"
    assert "1 of 32 pictures cannot be read" in capsys.readouterr().err
    assert main(command(pictures, out, "--set", "max_broken_percent=5")) == 0
    said = capsys.readouterr().out
    assert "skipped:" in said and "03.jpg" in said
    assert len(read(shards=str(out))) == 31
    found = json.loads((out / "summary.json").read_text())
    assert found["summary"]["pictures left out, unreadable"] == 1 and found["summary"]["pictures"] == 31


def test_a_shard_that_was_cut_is_refused(pictures, tmp_path):
    out = tmp_path / "shards"
    assert main(command(pictures, out)) == 0
    shard = out / "train-00000-of-00003.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-00000-of-00003.tfrecord should have .* copied half"):
        read(shards=str(out))
    with pytest.raises(OSError, match="ends before byte"):
        read_image(FilePart(str(shard), shard.stat().st_size - 10, 20))


def test_the_summary_counts_by_hand(pictures, tmp_path, capsys):
    assert main(command(pictures, tmp_path / "shards", "--set", "text.length=6")) == 0
    found = json.loads((tmp_path / "shards" / "summary.json").read_text())["summary"]
    assert found["pictures by split"] == "24 / 8" and found["captions by split"] == "48 / 16"
    assert found["dictionary size d"] == 15, "bottom is only in dev"
    assert found["words a caption, mean"] == 8.0 and found["words a caption, most"] == 9
    assert found["captions with more known words"] == "100.00 %", "7 and 9 words"


@pytest.mark.parametrize(
    ("size", "wanted"), [((600, 400), (384, 256)), ((300, 1000), (256, 853)), ((200, 300), (200, 300))]
)
def test_pictures_are_shrunk_to_the_short_side_and_never_enlarged(size, wanted):
    gradient = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    for form in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(gradient).save(buffer, form, quality=95)
        small = shrink_image(tf.constant(buffer.getvalue()), short_side=256, quality=95).numpy()
        with Image.open(io.BytesIO(small)) as picture:
            assert (picture.format, picture.size) == ("JPEG", wanted)
        if form == "JPEG":
            assert (small == buffer.getvalue()) == (size == wanted)
        one, other = (load_image(tf.constant(data), size=64, fit="stretch") for data in (buffer.getvalue(), small))
        assert np.abs(one - other).mean() < 1.5, "of 255: the tower sees nearly the same"
