"""What frozen parts say of each picture and sentence, computed once and kept on disk under all that it depends on."""

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

from itembed_tf.data.readers import FilePart, ImageSource, read_image
from itembed_tf.data.sources import image_batches
from itembed_tf.files import cache_folder, checksum
from itembed_tf.models.inference import inference_function, row_batches

BATCH = 64  # captions encoded at a time
PLAIN, MIRROR, FIRST_CROP = 0, 1, 2  # kinds of view, as the file names have them; crops are counted on from 2


def cached_features(
    backbone: keras.Model,
    pictures: Sequence[ImageSource],
    *,
    views: int,
    mirror: bool,
    load: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    settings: str,
    crop_settings: str,
    batch_size: int = 64,
) -> list[np.ndarray]:
    """Features of the pictures, one memory-mapped float32 array [n, F] a view.

    The first view is the picture as evaluation sees it, the second with `mirror` its mirror image, the others are
    training crops.

    Args:
        backbone: pixels [B, S, S, 3] to features [B, F].
        pictures: paths, file bytes, or parts of files.
        views: how many of each.
        mirror: whether the mirror image is one of them.
        load: file bytes to pixels, as in evaluation.
        augment: file bytes and a seed int32 [2] to pixels, as in training.
        settings: text that changes whenever `load` would give other pixels.
        crop_settings: the same of `augment`.
        batch_size: pictures encoded at a time.
    """
    weights = [keras.ops.convert_to_numpy(v).tobytes() for v in backbone.variables]
    same = (settings, backbone.name, *weights, *image_checksums(pictures))
    keys = {False: checksum(*same)[:32], True: checksum(crop_settings, *same)[:32]}
    encode = inference_function(backbone)
    found = []
    kinds = [PLAIN, *([MIRROR] if mirror else []), *range(FIRST_CROP, FIRST_CROP + views)][:views]
    for number, kind in enumerate(kinds, start=1):
        path = cache_folder("features") / f"{keys[kind >= FIRST_CROP]}-{kind}.npy"
        if not path.exists():
            batches = _view(pictures, kind, load, augment, batch_size)
            title = f"frozen backbone, view {number} of {views}"
            write_rows(path, map(encode, batches), (len(pictures), backbone.output.shape[-1]), title)
        found.append(np.load(path, mmap_mode="r", allow_pickle=False))
    return found


def _view(
    pictures: Sequence[ImageSource],
    kind: int,
    load: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    batch_size: int,
) -> tf.data.Dataset:
    if kind >= FIRST_CROP:
        draws = np.random.default_rng(kind).integers(0, 2**31 - 1, (len(pictures), 2), dtype=np.int32)
        seeds = tf.constant(draws)
        return image_batches(pictures, lambda data, i: augment(data, seeds[i]), batch_size)
    plain = image_batches(pictures, lambda data, i: load(data), batch_size)
    return plain.map(lambda x: tf.reverse(x, axis=[2])) if kind == MIRROR else plain


def write_rows(
    path: Path,
    batches: Iterable[tf.Tensor],
    shape: tuple[int, int],
    title: str,
    *,
    dtype: type[np.floating] = np.float32,
    unit: str = " pictures",
) -> None:
    """Fill a file as the batches come, so that memory stays small; it takes its name only when it is whole."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        done = 0
        with tqdm(total=shape[0], desc=title, unit=unit) as bar:
            for batch in batches:
                out[done : done + len(batch)] = batch.numpy()
                done += len(batch)
                bar.update(len(batch))
        out.flush()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cached_sentences(features: keras.Model, ids: np.ndarray) -> np.ndarray:
    """Features of sentences by "sentence_features", which encoders hold too: float32 [m, F], memory-mapped.

    Args:
        features: ids int32 [B, L] to features [B, F].
        ids: int32 [m, L].
    """
    weights = [keras.ops.convert_to_numpy(v).tobytes() for v in features.variables]
    kind = " ".join(layer.name for layer in features.layers)
    path = cache_folder("sentences") / f"{checksum(kind, *weights, str(ids.shape), ids.tobytes())[:32]}.npy"
    if not path.exists():
        shape = (len(ids), features.output.shape[-1])
        batches = map(inference_function(features), row_batches(ids, BATCH))
        write_rows(
            path,
            batches,
            shape,
            "sentence features",
            unit=" sentences",
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)


def image_checksums(pictures: Sequence[ImageSource]) -> list[str]:
    """SHA-256 of each image file: pictures that were copied, moved or packed are known again, changed ones are not."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(_identity, pictures)
        return list(tqdm(found, desc="reading pictures", total=len(pictures), unit=" pictures", delay=2))


def _identity(picture: ImageSource) -> str:
    if isinstance(picture, bytes):
        return checksum(picture)
    status = os.stat(picture.path if isinstance(picture, FilePart) else picture)
    return _identity_of_file(picture, status.st_size, status.st_mtime_ns)


@cache
def _identity_of_file(picture: ImageSource, size: int, changed: int) -> str:
    """A run asks for the same pictures again and again; within it a file is read anew only when it has changed."""
    return checksum(read_image(picture))
