"""What a frozen backbone says of each picture, computed once and kept on disk under everything that it depends on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.data import picture_batches
from itembed_tf.files import cache_folder, checksum


def cached_features(
    backbone: keras.Model,
    pictures: Sequence[str | bytes],
    *,
    views: int,
    load: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    settings: str,
    batch_size: int = 64,
) -> np.ndarray:
    """Features float32 [n, views, F] of the pictures, memory-mapped.

    View 0 is the picture as evaluation sees it, view 1 its mirror image, every further one a training crop.

    Args:
        backbone: pixels [B, S, S, 3] to features [B, F].
        pictures: paths, or file bytes.
        views: how many of each.
        load: file bytes to pixels, as in evaluation.
        augment: file bytes and a seed int32 [2] to pixels, as in training.
        settings: text that changes whenever `load` or `augment` would give other pixels.
        batch_size: pictures encoded at a time.
    """
    key = checksum(settings, str(views), str(batch_size), _weights_checksum(backbone), *[_identity(p) for p in pictures])
    path = cache_folder("features") / f"{key[:32]}.npy"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            _extract(backbone, pictures, views, load, augment, batch_size, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _extract(
    backbone: keras.Model,
    pictures: Sequence[str | bytes],
    views: int,
    load: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    batch_size: int,
    path: Path,
) -> None:
    shape = (len(pictures), views, backbone.output.shape[-1])
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    encode = tf.function(lambda x: backbone(x, training=False), reduce_retracing=True)
    with tqdm(total=len(pictures) * views, desc="features of the frozen backbone", unit=" pictures") as bar:

        def fill(view: int, batches: tf.data.Dataset) -> None:
            for number, batch in enumerate(batches):
                values = encode(batch).numpy()
                out[number * batch_size : number * batch_size + len(values), view] = values
                bar.update(len(values))

        plain = picture_batches(pictures, lambda data, i: load(data), batch_size)
        fill(0, plain)
        if views > 1:
            fill(1, plain.map(lambda x: tf.reverse(x, axis=[2])))
        for view in range(2, views):
            seeds = tf.constant(np.random.default_rng(view).integers(0, 2**31 - 1, (len(pictures), 2), dtype=np.int32))
            fill(view, picture_batches(pictures, lambda data, i, seeds=seeds: augment(data, seeds[i]), batch_size))
    out.flush()


def _identity(picture: str | bytes) -> bytes | str:
    """File bytes stand for themselves; a file for its place, size and time of change."""
    if isinstance(picture, bytes):
        return picture
    status = os.stat(picture)
    return f"{os.path.abspath(picture)} {status.st_size} {status.st_mtime_ns}"


def _weights_checksum(backbone: keras.Model) -> str:
    return checksum(*[keras.ops.convert_to_numpy(v).tobytes() for v in backbone.variables])
