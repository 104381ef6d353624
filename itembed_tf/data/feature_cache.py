"""Feature cache: outputs of frozen layers, computed once and cached on disk, keyed by everything they depend on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.data.cached_rows import cached_rows
from itembed_tf.data.readers import ImageSource, read_image
from itembed_tf.data.sources import image_batches
from itembed_tf.files import cache_folder, checksum
from itembed_tf.models.frozen_inference import frozen_inference
from itembed_tf.models.inference import inference_function, row_batches

BATCH = 64  # captions per batch
DECODER = "2"  # of formats other than JPEG: 2 turns PNG and WebP upright and puts transparent GIF and WebP on white
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
    encode = frozen_inference(backbone, views * len(images))
    features = []
    kinds = [WHOLE, *([MIRROR] if mirror else []), *range(FIRST_CROP, FIRST_CROP + views)][:views]
    for number, kind in enumerate(kinds, start=1):
        path = cache_folder("features") / f"{keys[kind >= FIRST_CROP]}-{kind}.npy"

        def encoded(first: int, kind: int = kind) -> Iterable[tf.Tensor]:
            return map(encode, _view(images, first, kind, load, augment, batch_size))

        shape = (len(images), backbone.output.shape[-1])
        features.append(cached_rows(path, encoded, shape, f"frozen backbone, view {number} of {views}"))
    return features


def _view(
    images: Sequence[ImageSource],
    first: int,
    kind: int,
    load: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    batch_size: int,
) -> tf.data.Dataset:
    """Batches of the images from number `first` on."""
    if kind >= FIRST_CROP:
        draws = np.random.default_rng(kind).integers(0, 2**31 - 1, (len(images), 2), dtype=np.int32)
        seeds = tf.constant(draws[first:])
        return image_batches(images[first:], lambda data, i: augment(data, seeds[i]), batch_size)
    whole = image_batches(images[first:], lambda data, i: load(data), batch_size)
    return whole.map(lambda x: tf.reverse(x, axis=[2])) if kind == MIRROR else whole


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

    def encoded(first: int) -> Iterable[tf.Tensor]:
        return map(inference_function(features), row_batches(ids[first:], BATCH))

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
