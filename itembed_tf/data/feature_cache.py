"""Feature cache: outputs of frozen layers, computed once and cached on disk, keyed by everything they depend on."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.data.readers import ImageSource, read_image
from itembed_tf.data.sources import image_batches
from itembed_tf.errors import UserError
from itembed_tf.files import cache_folder, checksum, replacing
from itembed_tf.locks import locked_file
from itembed_tf.models.inference import inference_function, row_batches

BATCH = 64  # captions per batch
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, a quota or a limit is reached
DECODER = "2"  # of formats other than JPEG: 2 turns PNG and WebP upright and puts transparent GIF and WebP on white
WHOLE, MIRROR, FIRST_CROP = 0, 1, 2  # kinds of view in file names; crops are 2, 3, ...


class NoSpace(UserError, OSError):
    """The disk of the cache folder is full; the message names the folder and its setting."""


def cached_features(
    backbone: keras.Model,
    images: Sequence[ImageSource],
    *,
    views: int,
    mirror: bool,
    load: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    settings: str,
    crop_settings: str,
    batch_size: int = 64,
) -> list[np.ndarray]:
    """Backbone features of images, one memory-mapped float32 array [n, F] per view.

    The first view is the image as in evaluation, the second, with `mirror`, its mirror image; all others are training
    crops.

    Args:
        backbone: pixels [B, S, S, 3] to features [B, F].
        images: paths, file bytes, or parts of files.
        views: number of views.
        mirror: whether the mirror image is one of them.
        load: file bytes to pixels, as in evaluation.
        augment: file bytes and a seed, int32 [2], to pixels, as in training.
        settings: cache key of `load`.
        crop_settings: cache key of `augment`.
        batch_size: images per batch.
    """
    weights = [keras.ops.convert_to_numpy(v).tobytes() for v in backbone.variables]
    shared = (settings, backbone.name, *weights, *image_checksums(images))
    keys = {False: checksum(*shared)[:32], True: checksum(crop_settings, *shared)[:32]}
    encode = inference_function(backbone)
    features = []
    kinds = [WHOLE, *([MIRROR] if mirror else []), *range(FIRST_CROP, FIRST_CROP + views)][:views]
    for number, kind in enumerate(kinds, start=1):
        path = cache_folder("features") / f"{keys[kind >= FIRST_CROP]}-{kind}.npy"

        def encoded(kind: int = kind) -> Iterable[tf.Tensor]:
            return map(encode, _view(images, kind, load, augment, batch_size))

        shape = (len(images), backbone.output.shape[-1])
        features.append(cached_rows(path, encoded, shape, f"frozen backbone, view {number} of {views}"))
    return features


def _view(
    images: Sequence[ImageSource],
    kind: int,
    load: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    batch_size: int,
) -> tf.data.Dataset:
    if kind >= FIRST_CROP:
        draws = np.random.default_rng(kind).integers(0, 2**31 - 1, (len(images), 2), dtype=np.int32)
        seeds = tf.constant(draws)
        return image_batches(images, lambda data, i: augment(data, seeds[i]), batch_size)
    whole = image_batches(images, lambda data, i: load(data), batch_size)
    return whole.map(lambda x: tf.reverse(x, axis=[2])) if kind == MIRROR else whole


def cached_rows(
    path: Path,
    batches: Callable[[], Iterable[tf.Tensor]],
    shape: tuple[int, int],
    title: str,
    *,
    dtype: type[np.floating] = np.float32,
    unit: str = " images",
) -> np.ndarray:
    """The memory-mapped rows of a cached .npy file; where it is missing or damaged, they are computed and written.

    One process computes a file; others wait for it, and then read it.

    Args:
        path: of the file.
        batches: gives the rows, some at a time.
        shape: of all rows.
        title, unit: of the progress bar.
        dtype: of the file.

    Raises:
        NoSpace: the disk is full.
    """
    rows = _open_rows(path, shape, dtype, warn=False)
    if rows is not None:
        return rows
    with locked_file(path):
        if (rows := _open_rows(path, shape, dtype)) is None:
            _write_rows(path, batches(), shape, title, dtype, unit)
            rows = _open_rows(path, shape, dtype)
    assert rows is not None
    return rows


def _open_rows(path: Path, shape: tuple[int, int], dtype: type[np.floating], *, warn: bool = True) -> np.ndarray | None:
    """The rows of a cached file; None if it is missing or damaged. With `warn`, a damaged file gives a warning."""
    if not path.exists():
        return None
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(rows, np.ndarray) and rows.shape == shape and rows.dtype == dtype:
            return rows
        reason = f"it does not hold {dtype.__name__} {list(shape)}"
    except (ValueError, EOFError) as error:
        reason = str(error)
    if warn:
        warnings.warn(f"the cached file {path} is damaged ({reason}); it is computed again", stacklevel=3)
    return None


def _write_rows(
    path: Path, batches: Iterable[tf.Tensor], shape: tuple[int, int], title: str, dtype: type[np.floating], unit: str
) -> None:
    """Write batches into a .npy file, one at a time to save memory; the file gets its name when it is complete."""
    with replacing(path) as temporary:
        out = _reserved(temporary, dtype, shape, path.parent)
        start = 0
        with tqdm(total=shape[0], desc=title, unit=unit) as bar:
            for batch in batches:
                out[start : start + len(batch)] = batch.numpy()
                start += len(batch)
                bar.update(len(batch))
        out.flush()


def _reserved(file: Path, dtype: type[np.floating], shape: tuple[int, int], folder: Path) -> np.memmap:
    """A new memory-mapped .npy file with all its space allocated.

    NumPy makes it sparse: on a full disk, writing its rows would end the process by a bus error, without a message.

    Raises:
        NoSpace: there is too little space.
    """
    try:
        rows = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with open(file, "r+b") as out:
                os.posix_fallocate(out.fileno(), 0, file.stat().st_size)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        megabytes = np.dtype(dtype).itemsize * shape[0] * shape[1] / 1e6
        raise NoSpace(
            f"the cache folder {folder} has no space for {megabytes:,.1f} MB of features ({error.strerror}): free "
            "some, or set the environment variable ITEMBED_CACHE to a folder on another disk",
        ) from error
    return rows


def cached_sentences(features: keras.Model, ids: np.ndarray) -> np.ndarray:
    """Text features of a frozen model, float32 [m, F], memory-mapped.

    Args:
        features: the "sentence_features" model, ids int32 [B, L] to features [B, F].
        ids: int32 [m, L].
    """
    weights = [keras.ops.convert_to_numpy(v).tobytes() for v in features.variables]
    kind = " ".join(layer.name for layer in features.layers)
    path = cache_folder("sentences") / f"{checksum(kind, *weights, str(ids.shape), ids.tobytes())[:32]}.npy"
    shape = (len(ids), features.output.shape[-1])

    def encoded() -> Iterable[tf.Tensor]:
        return map(inference_function(features), row_batches(ids, BATCH))

    return cached_rows(path, encoded, shape, "sentence features", unit=" captions")


def image_checksums(images: Sequence[ImageSource]) -> list[str]:
    """SHA-256 of each image file's content, which does not change when files are copied, moved or packed.

    For other formats than JPEG also of the decoder's version, so that features of an older one are not used.
    """
    with ThreadPoolExecutor() as pool:
        checksums = pool.map(_checksum, images)
        return list(tqdm(checksums, desc="reading images", total=len(images), unit=" images", delay=2))


def _checksum(image: ImageSource) -> str:
    if isinstance(image, bytes):
        return _content_checksum(image)
    status = os.stat(image if isinstance(image, str) else image.path)
    return _file_checksum(image, status.st_size, status.st_mtime_ns)


@cache
def _file_checksum(image: ImageSource, size: int, modified: int) -> str:
    """Memoised: a process reads a file again only if its size or modification time has changed."""
    return _content_checksum(read_image(image))


def _content_checksum(data: bytes) -> str:
    return checksum(data) if data.startswith(b"\xff\xd8\xff") else checksum(DECODER, data)
