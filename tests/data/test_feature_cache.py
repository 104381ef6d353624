"""Feature cache: correct values, computed once, and again when something that they depend on changes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from itembed_tf.data.cached_rows import NoSpace, cached_rows
from itembed_tf.data.feature_cache import cached_features
from itembed_tf.data.images import augment_image, load_image
from itembed_tf.data.readers import FilePart
from itembed_tf.errors import UsageError
from itembed_tf.files import partial_name
from itembed_tf.locks import locked_file

SIZE = 16


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    for n in range(5):
        Image.fromarray(random.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / f"{n}.png")
    return [str(tmp_path / f"{n}.png") for n in range(5)]


@pytest.fixture
def backbone() -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=3, activation="relu")(image / 255.0)
    return keras.Model(image, keras.layers.Flatten()(x), name="backbone")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def load(data: tf.Tensor) -> tf.Tensor:
    return load_image(data, size=SIZE, fit="stretch")


def augment(data: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return augment_image(data, seed, size=SIZE, crop_area=(0.3, 0.9), crop_aspect=(0.75, 1.33), flip=True)


def features(backbone: keras.Model, images: list[Any], views: int = 1, **changed: Any) -> list:
    usual = {"mirror": True, "load": load, "augment": augment, "settings": "a", "crop_settings": "a"}
    return cached_features(backbone, images, views=views, **usual | changed)


def test_views_are_the_image_its_mirror_image_and_crops(backbone, images):
    views = features(backbone, images, views=4, batch_size=2)
    pixels = np.stack([load(tf.io.read_file(path)).numpy() for path in images])
    np.testing.assert_allclose(views[0], backbone(pixels), atol=1e-5)
    np.testing.assert_allclose(views[1], backbone(pixels[:, :, ::-1]), atol=1e-5)
    assert [view.shape for view in views] == [(5, backbone.output.shape[-1])] * 4
    assert views[0].dtype == np.float32 and isinstance(views[0], np.memmap)
    for a, b in ((0, 2), (1, 2), (2, 3)):
        assert np.abs(views[a] - views[b]).max(axis=1).min() > 1e-3  # a different crop of every image


def test_the_second_call_decodes_nothing(backbone, images, cache):
    first = [np.array(view) for view in features(backbone, images, views=2)]
    files = {path: path.stat().st_ino for path in cache.iterdir()}
    assert len(files) == 2 and all(path.suffix == ".npy" for path in files)

    def fail(data: tf.Tensor) -> tf.Tensor:
        raise AssertionError("a cached image was decoded again")

    again = features(backbone, images, views=2, load=fail)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {path: path.stat().st_ino for path in cache.iterdir()} == files
    features(backbone, images, views=3)
    assert len(list(cache.iterdir())) == 3  # more views are added to the cached ones


def test_a_change_of_any_dependency_gives_new_features(backbone, images, cache):
    before = np.array(features(backbone, images)[0])
    assert len(list(cache.iterdir())) == 1
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(images[2])
    os.utime(images[2], ns=(1, 1))
    changed = np.array(features(backbone, images)[0])
    assert len(list(cache.iterdir())) == 2
    assert np.flatnonzero(np.abs(changed - before).max(axis=1) > 1e-6).tolist() == [2]
    features(backbone, images, settings="b")
    assert len(list(cache.iterdir())) == 3
    features(backbone, images[::-1])
    assert len(list(cache.iterdir())) == 4
    backbone.trainable_variables[0].assign_add(tf.ones(backbone.trainable_variables[0].shape))
    moved = np.array(features(backbone, images)[0])
    assert len(list(cache.iterdir())) == 5
    assert np.abs(moved - changed).max() > 1e-3


def test_other_crop_settings_keep_the_views_of_whole_images(backbone, images, cache):
    features(backbone, images, views=3)
    features(backbone, images, views=3, crop_settings="b")
    assert len(list(cache.iterdir())) == 4  # the image, its mirror image, one crop of each kind


def contents(images: list[str]) -> list[bytes]:
    return [Path(path).read_bytes() for path in images]


def in_one_file(images: list[str], path: Path) -> list[FilePart]:
    """The images as parts of one file, as `itembed prepare` packs them."""
    parts = contents(images)
    path.write_bytes(b"".join(parts))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return [FilePart(str(path), end - len(part), len(part)) for end, part in zip(ends, parts, strict=True)]


def test_images_from_memory_and_from_parts_of_a_file_have_the_same_features(backbone, images, tmp_path, monkeypatch):
    from_files = features(backbone, images)[0]
    for name, others in (("memory", contents(images)), ("parts", in_one_file(images, tmp_path / "packed"))):
        monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path / name))
        np.testing.assert_array_equal(from_files, features(backbone, others)[0])


def test_touched_moved_copied_or_packed_images_are_cached(backbone, images, tmp_path, cache):
    features(backbone, images)

    def fail(data: tf.Tensor) -> tf.Tensor:
        raise AssertionError("an image was encoded again")

    moved = shutil.copytree(Path(images[0]).parent, tmp_path.parent / f"{tmp_path.name}-moved")
    os.utime(images[3], ns=(1, 1))
    for same in (
        images,
        [str(moved / Path(path).name) for path in images],
        contents(images),
        in_one_file(images, tmp_path / "packed"),
    ):
        features(backbone, same, load=fail)
    assert len(list(cache.iterdir())) == 1


def test_incomplete_features_are_not_cached(backbone, images, cache):
    Path(images[4]).write_bytes(b"broken")
    with pytest.raises(tf.errors.OpError):
        features(backbone, images, batch_size=2)
    assert all(file.name.startswith(".unfinished-") for file in cache.iterdir())


KILLED = """
import os, signal, sys
import numpy as np, tensorflow as tf
from pathlib import Path
from itembed_tf.data.cached_rows import cached_rows

def batches(first):
    for start in range(first, 40, 4):
        if start == 24:
            os.kill(os.getpid(), signal.SIGKILL)
        yield tf.fill((4, 3), float(start))

cached_rows(Path(sys.argv[1]), batches, (40, 3), "rows")
"""


def test_after_a_kill_only_the_missing_rows_are_computed(tmp_path):
    path = tmp_path / "rows.npy"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, check=False)
    assert killed.returncode == -9 and not path.exists()
    partial_name(tmp_path / ".unfinished-rows.rows").touch()  # of a kill while the number of rows was written
    computed = []

    def batches(first: int) -> Iterator[tf.Tensor]:
        for start in range(first, 40, 4):
            computed.append(start)
            yield tf.fill((4, 3), float(start))

    rows = cached_rows(path, batches, (40, 3), "rows")
    assert computed == [24, 28, 32, 36]
    np.testing.assert_array_equal(rows, np.repeat(np.arange(0, 40, 4), 4)[:, None] * np.ones(3))
    assert [file.name for file in tmp_path.iterdir()] == ["rows.npy"]


def test_unfinished_rows_of_another_shape_are_computed_again(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(tmp_path / ".unfinished-rows.npy", np.zeros((7, 2), np.float32))
    (tmp_path / ".unfinished-rows.rows").write_text("5\n")

    def stopped(first: int) -> Iterator[tf.Tensor]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):  # before the first batch: the old number of rows must not count
        cached_rows(path, stopped, (8, 3), "rows")
    rows = cached_rows(path, lambda first: [tf.ones((8 - first, 3))], (8, 3), "rows")
    assert rows.sum() == 24


def test_the_files_used_least_recently_are_removed_above_the_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ITEMBED_CACHE_GB", "0.000003")  # 3,000 bytes: two files of 1,128 fit
    ones = [tf.ones((10, 25))]
    for age, name in enumerate(["new", "old", "older"]):
        np.save(tmp_path / f"{name}.npy", np.ones((10, 25), np.float32))
        os.utime(tmp_path / f"{name}.npy", (1e9 - age, 1e9 - age))
    cached_rows(tmp_path / "older.npy", lambda first: ones, (10, 25), "rows")  # reading a file is a use
    cached_rows(tmp_path / "next.npy", lambda first: ones, (10, 25), "rows")
    assert {file.stem for file in tmp_path.iterdir()} == {"older", "next"}
    assert "removed 2 files" in capsys.readouterr().out


def test_a_wrong_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ITEMBED_CACHE_GB", "plenty")
    with pytest.raises(UsageError, match="ITEMBED_CACHE_GB is 'plenty'; it must be a number of gigabytes above 0"):
        cached_rows(tmp_path / "a.npy", lambda first: [], (1, 1), "rows")


def test_bfloat16_features_are_cached_as_float32(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    image = keras.Input((SIZE, SIZE, 3), name="image")
    backbone = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image)), name="b")
    assert features(backbone, images)[0].dtype == np.float32


def test_without_mirror_the_second_view_is_a_crop(backbone, images):
    whole, crop = features(backbone, images, views=2, mirror=False)
    same_whole, mirror, same_crop = features(backbone, images, views=3)
    np.testing.assert_array_equal(whole, same_whole)
    np.testing.assert_array_equal(crop, same_crop)
    assert not np.array_equal(crop, mirror)


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: data[:20], lambda data: b""])
def test_a_damaged_file_is_computed_again_with_a_warning(backbone, images, cache, damage):
    before = np.array(features(backbone, images)[0])
    (file,) = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{file} is damaged .* computed again"):
        again = features(backbone, images)[0]
    np.testing.assert_array_equal(before, again)
    assert list(cache.iterdir()) == [file]


def test_a_full_disk_is_an_error_that_names_the_folder_and_its_setting(backbone, images, cache, monkeypatch):
    """Without the space reserved, writing the rows of a sparse file ends the process by a bus error."""

    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoSpace, match=rf"the cache folder {cache} has no space for .* MB .* ITEMBED_CACHE"):
        features(backbone, images)
    assert not list(cache.iterdir())


def test_the_space_of_a_file_is_allocated_before_its_rows_are_computed(tmp_path):
    path = tmp_path / "rows.npy"

    def rows(first: int):
        (file,) = tmp_path.glob(".unfinished-*.npy")
        assert file.stat().st_blocks * 512 >= 1_000_000
        yield tf.ones((1000, 250))

    assert cached_rows(path, rows, (1000, 250), "rows").sum() == 250_000


def test_what_another_process_has_computed_meanwhile_is_read(backbone, images, cache):
    """Two trainings that start at once: the second waits for the first, and computes nothing."""
    features(backbone, images)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    file.unlink()
    begun = threading.Event()

    def first() -> None:
        with locked_file(file):
            begun.set()
            time.sleep(0.3)
            file.write_bytes(content)

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait(10)

    def fail(data: tf.Tensor) -> tf.Tensor:
        raise AssertionError("the features were computed twice")

    features(backbone, images, load=fail)
    thread.join()
