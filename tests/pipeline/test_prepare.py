"""Packing: shards have all groups, small JPEGs are copied, and an interrupted packing continues."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.miniatures import container, jpeg
from benchmarks.tiny_flickr8k import write_tiny_flickr8k
from itembed_tf.data import packing as pack_module
from itembed_tf.data.batches import flatten
from itembed_tf.data.croissant import write_croissant
from itembed_tf.data.images import load_image, shrink_image
from itembed_tf.data.readers import FilePart, Group, read_dataset, read_image
from itembed_tf.data.sources import image_source
from itembed_tf.files import file_checksum, partial_name
from itembed_tf.prepare import main

ARGUMENTS = {"split_by": "base", "held_out_percent": 10, "merge": "", "leaks": "refuse"}


@pytest.fixture
def root(tmp_path: Path) -> str:
    return write_tiny_flickr8k(tmp_path / "data")


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


def test_shards_have_the_same_groups_and_images(root, tmp_path, capsys):
    out = tmp_path / "shards"
    assert main(command(root, out)) == 0
    printed = capsys.readouterr().out
    assert f"--set dataset.shards={out}" in printed and "not packed: test" in printed
    packed, source = read(shards=str(out)), read(root)
    assert [(g.id, g.captions, g.split) for g in packed] == [(g.id, g.captions, g.split) for g in source]
    assert len(list(out.glob("train-*-of-00003.tfrecord"))) == 3, "24 training images, 10 per shard"
    for one, other in zip(packed, source, strict=True):
        assert read_image(one.images[0]) == Path(other.images[0]).read_bytes(), "64 pixels need no shrinking"
    items = flatten(packed)
    load = image_source(items.images, lambda data, seed: load_image(data, size=32, fit="stretch"))
    (batch,) = load(np.array([[5, 0, 23]]), np.zeros((1, 3, 2), np.int32))
    expected = load_image(tf.constant(Path(flatten(source).images[5]).read_bytes()), size=32, fit="stretch")
    np.testing.assert_array_equal(batch["image"][0], expected)


def test_any_tensorflow_program_can_read_the_records(root, tmp_path):
    out = tmp_path / "shards"
    assert main(command(root, out)) == 0
    records = tf.data.TFRecordDataset([str(path) for path in sorted(out.glob("train-*.tfrecord"))])
    features = {"id": tf.io.FixedLenFeature((), tf.string), "captions": tf.io.VarLenFeature(tf.string)}
    examples = [
        tf.io.parse_single_example(record, features | {"images": tf.io.VarLenFeature(tf.string)}) for record in records
    ]
    source = read(root, splits=("train",))
    assert [example["id"].numpy().decode() for example in examples] == [g.id for g in source]
    captions = [example["captions"].values.numpy().tolist() for example in examples]
    assert captions == [[caption.encode() for caption in group.captions] for group in source]
    assert tf.io.decode_jpeg(examples[0]["images"].values[0]).shape == (64, 64, 3)


def test_a_killed_packing_continues(root, tmp_path, monkeypatch, capsys):
    complete, out = tmp_path / "complete", tmp_path / "shards"
    assert main(command(root, complete)) == 0
    write, written = pack_module._write_shard, []

    def kill_in_third_shard(path, groups, encode_all, bar):
        written.append(path.name)
        if len(written) == 3:
            partial_name(path).write_bytes(b"half")
            raise KeyboardInterrupt
        return write(path, groups, encode_all, bar)

    monkeypatch.setattr(pack_module, "_write_shard", kill_in_third_shard)
    assert main(command(root, out)) == 130
    assert "interrupted; continue with: " in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"the index of a shard is missing.*Rerun `itembed prepare`"):
        read(shards=str(out))
    written.clear()
    monkeypatch.setattr(pack_module, "_write_shard", lambda *args: (written.append(args[0].name), write(*args))[1])
    assert main(command(root, out)) == 0
    assert written == ["train-00002-of-00003.tfrecord", "dev-00000-of-00001.tfrecord"], "two were complete"
    names = {path.name for path in complete.iterdir()}
    assert {path.name for path in out.iterdir()} == names
    assert all((out / name).read_bytes() == (complete / name).read_bytes() for name in names)


def test_shards_of_other_settings_are_refused(root, tmp_path, capsys):
    out = tmp_path / "shards"
    assert main(command(root, out)) == 0
    assert main(command(root, out, "--short-side", "48")) == 1
    assert "short_side was 256 and is 48" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"the shards have dataset.split_by = 'base', the config has 'karpathy'"):
        read(shards=str(out), split_by="karpathy")
    with pytest.raises(ValueError, match=r"test was not packed \(only (dev, train|train, dev)\)"):
        read(shards=str(out), splits=("train", "test"))


def test_unreadable_images_are_left_out_counted_and_named(root, tmp_path, capsys):
    out = tmp_path / "shards"
    (Path(root) / "Images" / "03.jpg").write_bytes(b"\xff\xd8\xff half an image")
    assert main(command(root, out)) == 1, "1 of 32 is more than one percent"
    assert "1 of 32 images are unreadable" in capsys.readouterr().err
    assert main(command(root, out, "--set", "max_broken_percent=5")) == 0
    printed = capsys.readouterr().out
    assert "skipped:" in printed and "03.jpg" in printed and "unreadable images, left out" in printed
    assert len(read(shards=str(out))) == 31
    content = json.loads((out / "summary.json").read_text())
    (skipped,) = content["skipped"]
    assert skipped["image"].endswith("03.jpg") and sum(content["summary"]["images"].values()) == 31


def test_a_missing_image_is_left_out_and_named(root, tmp_path, capsys):
    out = tmp_path / "shards"
    (Path(root) / "Images" / "05.jpg").unlink()
    assert main(command(root, out, "--set", "max_broken_percent=5")) == 0
    printed = capsys.readouterr().out
    assert "skipped:" in printed and "05.jpg" in printed
    assert len(read(shards=str(out))) == 31
    assert main(command(root, out, "--set", "max_broken_percent=5")) == 0, "the same contents"


def test_images_in_tar_and_parquet_files_are_packed(tmp_path):
    for name in ("all.tar", "all.parquet"):
        source, out = tmp_path / name.partition(".")[2], tmp_path / f"{name}-shards"
        container(name)(source)
        settings = ["dataset.name=folder", f"dataset.root={json.dumps(str(source))}"]
        words = [word for setting in [*settings, "word_vectors.source=random"] for word in ("--set", setting)]
        assert main([*_config(out), *words]) == 0
        groups = read_dataset(name="folder", shards=str(out))
        assert [group.captions[0] for group in groups] == [f"an image with the number {n}" for n in range(12)]
        assert read_image(groups[-1].images[0]) == jpeg()
        images = [group.images[0] for group in read_dataset(name="folder", root=str(source))]
        load = image_source(images, lambda data, seed: load_image(data, size=8, fit="stretch"))
        (batch,) = load(np.array([[3, 0]]), np.zeros((1, 2, 2), np.int32))
        expected = load_image(tf.constant(jpeg()), size=8, fit="stretch")
        np.testing.assert_array_equal(batch["image"], np.stack([expected, expected]))


def test_a_truncated_shard_is_refused(root, tmp_path):
    out = tmp_path / "shards"
    assert main(command(root, out)) == 0
    shard = out / "train-00000-of-00003.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-00000-of-00003.tfrecord has .* bytes instead of .* incomplete copy"):
        read(shards=str(out))
    with pytest.raises(OSError, match=r"is truncated .*rerun `itembed prepare`"):
        read_image(FilePart(str(shard), shard.stat().st_size - 10, 20))


def test_damaged_shards_and_indexes_are_written_again(root, tmp_path):
    out = tmp_path / "shards"
    assert main(command(root, out)) == 0
    names = ("train-00000-of-00003.tfrecord", "train-00001-of-00003.json")
    intact = {name: (out / name).read_bytes() for name in names}
    for name, content in intact.items():
        (out / name).write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="is damaged; it is written again"):
        assert main(command(root, out)) == 0
    assert {name: (out / name).read_bytes() for name in names} == intact


def test_the_summary_is_correct(root, tmp_path, capsys):
    assert main(command(root, tmp_path / "shards", "--set", "text.length=6")) == 0
    summary = json.loads((tmp_path / "shards" / "summary.json").read_text())["summary"]
    assert summary["images"] == {"train": 24, "dev": 8} and summary["captions"] == {"train": 48, "dev": 16}
    assert summary["vocabulary"] == 15, "bottom is only in dev"
    assert summary["words_mean"] == 8.0 and summary["words_max"] == 9
    assert summary["truncated_percent"] == 100.0, "7 and 9 words"


@pytest.mark.parametrize(
    ("size", "expected"), [((600, 400), (384, 256)), ((300, 1000), (256, 853)), ((200, 300), (200, 300))]
)
def test_images_are_shrunk_to_the_short_side_and_never_enlarged(size, expected):
    gradient = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    for form in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(gradient).save(buffer, form, quality=95)
        small = shrink_image(tf.constant(buffer.getvalue()), short_side=256, quality=95).numpy()
        with Image.open(io.BytesIO(small)) as image:
            assert (image.format, image.size) == ("JPEG", expected)
        if form == "JPEG":
            assert (small == buffer.getvalue()) == (size == expected)
        one, other = (load_image(tf.constant(data), size=64, fit="stretch") for data in (buffer.getvalue(), small))
        assert np.abs(one - other).mean() < 1.5, "of 255: nearly the same input"


def test_croissant_metadata_is_valid_and_reads_the_groups(root, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    out = tmp_path / "shards"
    assert main(command(root, out, "--set", 'card.data_license="CC BY 4.0"')) == 0
    dataset = mlcroissant.Dataset(out / "croissant.json")  # raises for an error of validation
    assert not dataset.metadata.ctx.issues.errors and dataset.metadata.license == ["CC BY 4.0"]
    records, packed = list(dataset.records("groups")), read(shards=str(out))
    assert len(records) == len(packed) == 32
    for record, group in zip(records, sorted(packed, key=lambda group: group.split == "dev"), strict=True):
        assert record["groups/id"].decode() == group.id and record["groups/split"].decode() == group.split
        assert [caption.decode() for caption in record["groups/captions"]] == list(group.captions)
        (offset,), (length,) = record["groups/offsets"], record["groups/lengths"]
        content = (out / record["groups/shard"].decode()).read_bytes()[offset : offset + length]
        assert content == read_image(group.images[0])
    assert "groups/label" not in records[0], "no group has one"


def test_croissant_metadata_has_the_checksum_of_every_shard_and_the_labels(tmp_path):
    for name, label in (("first", "red"), ("second", "")):
        part = FilePart(str(tmp_path / f"train-{name}.tfrecord"), 0, 3)
        Path(part.path).write_bytes(name.encode())
        groups = [Group(name, (part, part), ("a caption",), "train", label)]
        content = json.loads(write_croissant(tmp_path, groups, name="x", license="", description="y").read_text())
        files = {entry["contentUrl"]: entry["sha256"] for entry in content["distribution"]}
        assert files == {path: file_checksum(tmp_path / path) for path in ("groups.json", Path(part.path).name)}
        fields = [field["name"] for field in content["recordSet"][0]["field"]]
        assert ("label" in fields) == bool(label) and "license" not in content
        assert json.loads((tmp_path / "groups.json").read_text())[0]["lengths"] == [3, 3]
