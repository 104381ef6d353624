"""Sampling of epochs, and batches of images and of features."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.served import sample_image
from itembed_tf.data.batches import Items, batches, draw_epoch, flatten, share_of
from itembed_tf.data.decoding import only_formats
from itembed_tf.data.images import load_image
from itembed_tf.data.readers import Group
from itembed_tf.data.sources import feature_source, image_batches, image_source, read_from

LENGTH = 6
CLASSES = np.arange(20, dtype=np.int32)[::-1].copy()  # of the 20 groups of `uneven`


def group(number: int, images: int = 1, captions: int = 3) -> Group:
    return Group(
        id=f"g{number:03d}",
        images=tuple(f"{number}-{i}.png" for i in range(images)),
        captions=tuple(f"caption {number} {i}" for i in range(captions)),
        split="train",
    )


def uneven() -> tuple[Items, np.ndarray]:
    """24 images in 20 groups, 1 to 4 captions each; word ids identify the caption, row lengths go from 0 to LENGTH."""
    items = flatten([group(n, images=2 if n < 4 else 1, captions=1 + n % 4) for n in range(20)])
    ids = np.zeros((len(items.captions), LENGTH), np.int32)
    for row in range(len(ids)):
        ids[row, : row % (LENGTH + 1)] = row + 1
    return items, ids


def png(value: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((40, 48, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_flatten_numbers_groups_in_their_order():
    items = flatten([group(7, images=2, captions=1), group(3, captions=2)])
    assert items.images == ["7-0.png", "7-1.png", "3-0.png"]
    assert items.image_groups.tolist() == [0, 0, 1]
    assert items.captions == ["caption 7 0", "caption 3 0", "caption 3 1"]
    assert items.caption_groups.tolist() == [0, 1, 1]


def test_an_epoch_has_every_image_once_with_a_caption_of_its_group():
    items, _ = uneven()
    ids = np.tile(np.arange(1, len(items.captions) + 1, dtype=np.int32)[:, None], (1, LENGTH))
    seen = set()
    for epoch in range(30):
        drawn = draw_epoch(
            items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=8, mining=0, seed=(0, 0, epoch)
        )
        assert drawn.images.shape == (3, 8)
        assert sorted(drawn.images.ravel()) == list(range(24))
        np.testing.assert_array_equal(drawn.groups, items.image_groups[drawn.images])
        captions = drawn.ids[..., 0] - 1
        np.testing.assert_array_equal(items.caption_groups[captions], drawn.groups)
        seen |= set(captions.ravel())
    assert seen == set(range(len(items.captions)))  # every caption occurs within 30 epochs


def test_images_that_do_not_fill_a_batch_are_left_out():
    items, ids = uneven()
    seen = set()
    for epoch in range(10):
        drawn = draw_epoch(
            items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=9, mining=0, seed=(0, 0, epoch)
        )
        assert drawn.images.shape == (2, 9) and len(set(drawn.images.ravel())) == 18
        seen |= set(drawn.images.ravel())
    assert seen == set(range(24))


def test_a_batch_size_above_the_number_of_images_gives_one_batch():
    items, ids = uneven()
    drawn = draw_epoch(items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=128, mining=4, seed=(0, 0, 0))
    assert drawn.images.shape == (1, 24)
    assert drawn.candidate_ids.shape == (1, 4, LENGTH)  # no group is outside the batch: candidates of all groups


def test_samples_depend_on_the_seed_alone():
    items, ids = uneven()

    def draw(*seed: int) -> list[np.ndarray]:
        drawn = draw_epoch(items, ids, captions=1, shift=True, word_dropout=0.0, batch_size=8, mining=5, seed=seed)
        return [drawn.images, drawn.seeds, drawn.ids, drawn.groups, drawn.candidate_ids, drawn.candidate_groups]

    first = draw(1, 0, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, draw(1, 0, 3), strict=True))
    for other in ((1, 0, 4), (1, 1, 3), (2, 0, 3)):
        changed = draw(*other)
        assert not np.array_equal(first[0], changed[0]) and not np.array_equal(first[1], changed[1])


def test_samples_with_one_caption_per_image_never_change():
    """A run that was started with an earlier version continues with the same samples."""
    items, ids = uneven()
    settings = {"captions": 1, "shift": True, "word_dropout": 0.2, "batch_size": 9, "mining": 5}
    drawn = draw_epoch(items, ids, **settings, seed=(1, 0, 3))
    assert drawn.images[0].tolist() == [7, 19, 23, 5, 13, 18, 16, 14, 22]
    sums = {"seeds": 1552764481, "ids": 3153663765, "candidate_ids": 1857292538, "candidate_groups": 167240424}
    for name, expected in sums.items():
        assert zlib.crc32(np.ascontiguousarray(getattr(drawn, name)).tobytes()) == expected, name


@pytest.mark.parametrize("captions", [2, 3])
def test_several_captions_of_an_image_differ_while_its_group_has_others(captions):
    items, _ = uneven()  # groups of 1 to 4 captions
    ids = np.tile(np.arange(1, len(items.captions) + 1, dtype=np.int32)[:, None], (1, LENGTH))
    settings = {"shift": False, "word_dropout": 0.0, "batch_size": 8, "mining": 0}
    pairs = set()
    for epoch in range(200):
        drawn = draw_epoch(items, ids, captions=captions, **settings, seed=(0, 0, epoch))
        assert drawn.captions.shape == (3, captions * 8) and drawn.groups.shape == drawn.images.shape == (3, 8)
        np.testing.assert_array_equal(drawn.ids[..., 0] - 1, drawn.captions)
        for chosen, labels in zip(drawn.captions.reshape(3, captions, 8), drawn.groups, strict=True):
            np.testing.assert_array_equal(items.caption_groups[chosen], np.tile(labels, (captions, 1)))
            for row, label in zip(chosen.T, labels, strict=True):
                assert len(set(row)) == min(captions, 1 + label % 4)
                pairs |= {(a, b) for a, b in itertools.pairwise(row) if label == 3}  # 4 captions
        one = draw_epoch(items, ids, captions=1, **settings, seed=(0, 0, epoch))
        np.testing.assert_array_equal(drawn.captions[:, :8], one.captions)  # the first is the same as with one caption
    first = int(np.searchsorted(items.caption_groups, 3))
    assert len(pairs) == 12 and {n for pair in pairs for n in pair} == set(range(first, first + 4))


def test_mining_needs_one_caption_per_image():
    items, ids = uneven()
    with pytest.raises(ValueError, match=r"data.captions is 2 and a stage's mining is 5"):
        draw_epoch(items, ids, captions=2, shift=False, word_dropout=0.0, batch_size=8, mining=5, seed=(0, 0, 0))


def test_shift_is_uniform_over_the_positions_at_which_a_caption_fits():
    """2 words in 6 positions: 5 starts. 2,000 samples; each count within 5 standard deviations, words adjacent."""
    items = flatten([group(n, captions=1) for n in range(2000)])
    ids = np.zeros((2000, LENGTH), np.int32)
    ids[:, 0], ids[:, 1] = 8, 9
    drawn = draw_epoch(
        items, ids, captions=1, shift=True, word_dropout=0.0, batch_size=2000, mining=0, seed=(0, 0, 0)
    ).ids[0]
    starts = (drawn != 0).argmax(axis=1)
    rows = np.arange(2000)
    assert (drawn[rows, starts] == 8).all() and (drawn[rows, starts + 1] == 9).all()
    assert ((drawn != 0).sum(axis=1) == 2).all()
    counts = np.bincount(starts, minlength=LENGTH)
    assert counts[5] == 0
    assert np.abs(counts[:5] - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)


def test_shift_of_full_and_empty_captions_and_no_shift():
    items = flatten([group(0, captions=1), group(1, captions=1)])
    ids = np.array([[1, 2, 3, 4, 5, 6], [0] * 6], np.int32)
    drawn = draw_epoch(items, ids, captions=1, shift=True, word_dropout=0.0, batch_size=2, mining=0, seed=(0, 0, 0))
    np.testing.assert_array_equal(drawn.ids[0], ids[drawn.groups[0]])
    items, ids = uneven()
    left = draw_epoch(
        items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=24, mining=0, seed=(0, 0, 0)
    ).ids[0]
    assert all((row[: (row != 0).sum()] != 0).all() for row in left)


def test_candidates_are_captions_of_groups_outside_the_batch():
    items, _ = uneven()
    ids = np.tile(np.arange(1, len(items.captions) + 1, dtype=np.int32)[:, None], (1, LENGTH))
    drawn = draw_epoch(items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=8, mining=200, seed=(0, 0, 0))
    for labels, candidates, rows in zip(drawn.groups, drawn.candidate_groups, drawn.candidate_ids, strict=True):
        assert not set(labels) & set(candidates)
        assert set(candidates) == set(range(20)) - set(labels)  # all others within 200 samples
        np.testing.assert_array_equal(items.caption_groups[rows[:, 0] - 1], candidates)


def test_a_resumed_epoch_gives_exactly_the_remaining_batches():
    items, ids = uneven()
    drawn = draw_epoch(items, ids, captions=1, shift=True, word_dropout=0.0, batch_size=4, mining=3, seed=(0, 0, 0))
    views = [np.random.default_rng(v).normal(size=(24, 5)).astype(np.float32) for v in range(2)]
    images = [png(n) for n in range(24)]

    def augment(data: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(tf.io.decode_png(data, channels=3), tf.float32)[:2, :2]
        return pixels + tf.random.stateless_uniform([2, 2, 3], seed)

    for load in (feature_source(views), image_source(images, augment)):
        complete = list(batches(drawn, 0, load, CLASSES))
        assert len(complete) == 6
        for first in (2, 5, 6):  # 6: killed between the last step and the end of the epoch
            remaining = list(batches(drawn, first, load, CLASSES))
            assert len(remaining) == 6 - first
            for a, b in zip(complete[first:], remaining, strict=True):
                assert a.keys() == b.keys()
                assert all(np.array_equal(a[key], b[key]) for key in a)


def test_the_shares_of_replicas_are_the_batch_with_its_captions():
    """Two processes with two replicas each, three captions an image: together they have every row of every batch."""
    items = Items([str(n) for n in range(8)], np.arange(8, dtype=np.int32), [""] * 24, np.repeat(np.arange(8), 3))
    ids = np.arange(24 * 2, dtype=np.int32).reshape(24, 2)
    epoch = draw_epoch(items, ids, captions=3, shift=False, word_dropout=0.0, batch_size=8, mining=0, seed=(0, 0, 0))
    shares = [share_of(epoch, range(0, 2), 4), share_of(epoch, range(2, 4), 4)]
    assert shares[0].images.shape == (2, 2) and shares[0].ids.shape == (2, 6, 2)
    rows = np.concatenate([share.images for share in shares])
    np.testing.assert_array_equal(rows.reshape(-1), epoch.images[0])
    for share in shares:
        np.testing.assert_array_equal(share.groups, items.image_groups[share.images])
        captions = share.captions.reshape(2, 3, 2)  # of each part, caption j of each image
        np.testing.assert_array_equal(captions // 3, np.repeat(share.images[:, None], 3, axis=1))
        np.testing.assert_array_equal(share.ids, ids[share.captions])
        np.testing.assert_array_equal(share.step_seeds, np.repeat(epoch.step_seeds, 2, axis=0))
    assert np.unique(np.concatenate([share.captions for share in shares])).size == 24
    with pytest.raises(ValueError, match="8 images cannot be shared equally by 3"):
        share_of(epoch, range(1), 3)


def test_batches_of_features_have_one_view_of_each_image():
    items, ids = uneven()
    drawn = draw_epoch(items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=24, mining=0, seed=(0, 0, 0))
    views = [np.stack([np.arange(24), np.full(24, v)], axis=1).astype(np.float32) for v in range(3)]
    batch = next(iter(batches(drawn, 0, feature_source(views), CLASSES)))
    np.testing.assert_array_equal(batch["image_features"][:, 0], drawn.images[0])
    assert set(batch["image_features"][:, 1].numpy()) == {0.0, 1.0, 2.0}
    np.testing.assert_array_equal(batch["classes"], CLASSES[drawn.groups[0]])
    assert batch["classes"].shape == (24,) and batch["ids"].dtype == tf.int32


def test_text_features_replace_word_ids():
    items, ids = uneven()
    settings = {"captions": 2, "shift": False, "word_dropout": 0.0, "batch_size": 8, "mining": 0}
    drawn = draw_epoch(items, ids, **settings, seed=(0, 0, 0))
    sentences = np.arange(3 * len(items.captions), dtype=np.float32).reshape(-1, 3)
    load = feature_source([np.zeros((len(items.images), 2), np.float32)])
    steps = list(batches(drawn, 1, load, CLASSES, sentences))
    assert len(steps) == 2
    for batch, captions in zip(steps, drawn.captions[1:], strict=True):
        assert batch["text_features"].shape == (16, 3) and batch["image_features"].shape == (8, 2)
        np.testing.assert_array_equal(batch["text_features"], sentences[captions])
        assert "ids" not in batch and "image" not in batch


def test_batches_of_images_have_the_matching_captions(tmp_path):
    """From files and from memory, in the sampled order although decoding is parallel."""
    items, ids = uneven()
    drawn = draw_epoch(items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=8, mining=0, seed=(0, 0, 0))
    for n in range(24):
        (tmp_path / f"{n}.png").write_bytes(png(10 * n))
    for images in ([png(10 * n) for n in range(24)], [str(tmp_path / f"{n}.png") for n in range(24)]):
        load = image_source(images, lambda data, seed: tf.cast(tf.io.decode_png(data, channels=3), tf.float32))
        for step, batch in enumerate(batches(drawn, 0, load, CLASSES)):
            np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], 10 * drawn.images[step])
            np.testing.assert_array_equal(batch["classes"], CLASSES[drawn.groups[step]])


def test_evaluation_batches_have_all_images_in_order():
    images = [png(n) for n in range(7)]
    read = image_batches(images, lambda data, i: tf.cast(tf.io.decode_png(data, channels=3), tf.float32), 3)
    values = [batch.numpy()[:, 0, 0, 0].tolist() for batch in read]
    assert values == [[0, 1, 2], [3, 4, 5], [6]]


def test_autotuning_is_off():
    """TensorFlow 2.21's autotuning thread delayed the end of some epochs by up to half of their time."""
    items, ids = uneven()
    drawn = draw_epoch(items, ids, captions=1, shift=False, word_dropout=0.0, batch_size=8, mining=0, seed=(0, 0, 0))
    evaluation = image_batches([png()] * 3, lambda data, i: tf.io.decode_png(data), 2)
    for dataset in (batches(drawn, 0, feature_source([np.zeros((24, 5), np.float32)]), CLASSES), evaluation):
        assert dataset.options().autotune.enabled is False


FEATURE_SOURCE = """
import numpy as np
from itembed_tf.data.sources import feature_source
rows = feature_source([np.ones((4, 5), np.float32)])(np.zeros((2, 3), np.int64), np.zeros((2, 3, 2), np.int32))
print(sum(float(row["image_features"].numpy().sum()) for row in rows))
"""


def test_reading_features_leaves_the_allocator_alone():
    """from_generator sets malloc's trim threshold for the process, and each training step then has page faults."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = subprocess.run([sys.executable, "-c", FEATURE_SOURCE], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "30.0"
    assert "M_TRIM_THRESHOLD" not in done.stderr


def test_word_dropout_removes_a_share_of_the_words_and_closes_the_gaps() -> None:
    caption = np.arange(1, 21, dtype=np.int32)
    rows = np.tile(np.pad(caption, (0, 4)), (2000, 1))
    items = Items([b""] * 2000, np.arange(2000, dtype=np.int32), [""] * 2000, np.arange(2000, dtype=np.int32))
    drawn = draw_epoch(
        items, rows, captions=1, shift=False, word_dropout=0.2, batch_size=2000, mining=0, seed=(0, 0, 0)
    ).ids[0]
    lengths = (drawn != 0).sum(axis=1)
    assert abs(lengths.mean() - 16) < 0.2  # 20 words, a fifth removed
    for row, length in zip(drawn[:50], lengths, strict=False):
        assert (row[:length] != 0).all() and (row[length:] == 0).all()
        assert (np.diff(row[:length]) > 0).all()  # in order


def test_python_is_called_only_where_the_graph_cannot_decode(tmp_path):
    """A call of Python makes tf.data decode one image at a time where operations are deterministic."""

    def ops(images):
        read = tf.function(read_from(images)[0], input_signature=[tf.TensorSpec((), tf.int64)])
        return {op.type for op in read.get_concrete_function().graph.get_operations()}

    usual = [sample_image(0, file_format) for file_format in ("JPEG", "PNG", "WEBP")]
    for number, data in enumerate(usual):
        (tmp_path / str(number)).write_bytes(data)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    assert "PyFunc" not in ops(usual) | ops(paths)
    gif = sample_image(0, "GIF")
    (tmp_path / "3.jpg").write_bytes(gif)
    assert "PyFunc" in ops([*paths, str(tmp_path / "3.jpg")]) and "PyFunc" in ops([*usual, gif])
    assert read_from([*usual, gif])[0](tf.constant(3)).numpy()[:2] == b"BM"


def turned_and_transparent(file_format: str) -> bytes:
    """A small image that EXIF turns by 90 degrees and, but for a JPEG, of which a part is transparent."""
    pixels = np.random.default_rng(0).integers(0, 255, (20, 12, 4), np.uint8)
    image = Image.fromarray(pixels).convert("RGB" if file_format == "JPEG" else "RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    image.save(content, file_format, exif=exif, **({"lossless": True} if file_format == "WEBP" else {}))
    return content.getvalue()


@pytest.mark.parametrize("formats", [("JPEG",), ("PNG",), ("WEBP",), ("PNG", "JPEG")], ids="+".join)
def test_the_decoder_of_some_formats_gives_the_pixels_of_the_one_for_all(formats):
    images = [turned_and_transparent(file_format) for file_format in formats]
    found = np.concatenate(list(image_batches(images, lambda data, i: load_image(data, size=16, fit="stretch"), 4)))
    np.testing.assert_array_equal(found, [load_image(tf.constant(data), size=16, fit="stretch") for data in images])


def test_a_pipeline_of_jpegs_has_no_decoder_of_other_formats():
    """TensorFlow sets the decoder up in every epoch, which takes three times as long for all formats."""

    def operations(images: list[bytes]) -> set[str]:
        read, formats = read_from(images)
        load = tf.function(
            lambda i: load_image(read(i), size=16, fit="stretch"), input_signature=[tf.TensorSpec((), tf.int64)]
        )
        with only_formats(formats):
            graph = load.get_concrete_function().graph.as_graph_def()
        return {node.op for function in graph.library.function for node in function.node_def}

    jpeg, png = sample_image(0, "JPEG"), sample_image(0, "PNG")
    assert "DecodeJpeg" in operations([jpeg]) and not operations([jpeg]) & {"DecodePng", "DecodeImage"}
    assert {"DecodeJpeg", "DecodePng"} <= operations([jpeg, png])
