"""Feature cache: outputs of frozen layers, computed once and cached on disk, keyed by everything they depend on."""

from __future__ import annotations

import os
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
from itembed_tf.files import cache_folder, checksum
from itembed_tf.models.inference import inference_function, row_batches

BATCH = 64  # captions per batch
WHOLE, MIRROR, FIRST_CROP = 0, 1, 2  # kinds of view in file names; crops are 2, 3, ...


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
        if not path.exists():
            batches = _view(images, kind, load, augment, batch_size)
            title = f"frozen backbone, view {number} of {views}"
            write_rows(path, map(encode, batches), (len(images), backbone.output.shape[-1]), title)
        features.append(np.load(path, mmap_mode="r", allow_pickle=False))
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


def write_rows(
    path: Path,
    batches: Iterable[tf.Tensor],
    shape: tuple[int, int],
    title: str,
    *,
    dtype: type[np.floating] = np.float32,
    unit: str = " images",
) -> None:
    """Write batches into a .npy file, one at a time to save memory; the file gets its name when it is complete."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        start = 0
        with tqdm(total=shape[0], desc=title, unit=unit) as bar:
            for batch in batches:
                out[start : start + len(batch)] = batch.numpy()
                start += len(batch)
                bar.update(len(batch))
        out.flush()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cached_sentences(features: keras.Model, ids: np.ndarray) -> np.ndarray:
    """Text features of a frozen model, float32 [m, F], memory-mapped.

    Args:
        features: the "sentence_features" model, ids int32 [B, L] to features [B, F].
        ids: int32 [m, L].
    """
    weights = [keras.ops.convert_to_numpy(v).tobytes() for v in features.variables]
    kind = " ".join(layer.name for layer in features.layers)
    path = cache_folder("sentences") / f"{checksum(kind, *weights, str(ids.shape), ids.tobytes())[:32]}.npy"
    if not path.exists():
        shape = (len(ids), features.output.shape[-1])
        batches = map(inference_function(features), row_batches(ids, BATCH))
        write_rows(path, batches, shape, "sentence features", unit=" captions")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def image_checksums(images: Sequence[ImageSource]) -> list[str]:
    """SHA-256 of each image file's content; it does not change when files are copied, moved or packed."""
    with ThreadPoolExecutor() as pool:
        checksums = pool.map(_checksum, images)
        return list(tqdm(checksums, desc="reading images", total=len(images), unit=" images", delay=2))


def _checksum(image: ImageSource) -> str:
    if isinstance(image, bytes):
        return checksum(image)
    status = os.stat(image if isinstance(image, str) else image.path)
    return _file_checksum(image, status.st_size, status.st_mtime_ns)


@cache
def _file_checksum(image: ImageSource, size: int, modified: int) -> str:
    """Memoised: a process reads a file again only if its size or modification time has changed."""
    return checksum(read_image(image))
