"""Input pipelines with tf.data: batches of decoded images and of cached features, prefetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from itembed_tf.data.decoding import ALL, format_of, only_formats
from itembed_tf.data.pillow_images import prepare_image
from itembed_tf.data.readers import ImageSource, read_image

BatchSource = Callable[[np.ndarray, np.ndarray], tf.data.Dataset]  # indices [steps, B], seeds [steps, B, ...]
THREADS = os.cpu_count() or 1  # for decoding images


def read_ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetch two batches.

    Autotuning is off: its thread wakes up 10.2, 20.5, 41 ... seconds after the start, and in TensorFlow 2.21 the end
    of an epoch sometimes waits for that.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)


def feature_source(views: Sequence[np.ndarray], name: str = "image_features") -> BatchSource:
    """Batches {name: float32 [B, F]} of cached features; the seed of a row chooses one of the views [n, F]."""

    def gather(indices: np.ndarray, draws: np.ndarray) -> np.ndarray:
        return np.stack([views[draw][i] for i, draw in zip(indices, draws, strict=True)])

    def load(indices: np.ndarray, seeds: np.ndarray) -> tf.data.Dataset:
        # Not from_generator: its op sets malloc's trim threshold to 128 KB for the process, so that every step
        # allocates its memory again (10,000 page faults per step of configs/flickr8k.toml, 4 % of its time).
        shape = (indices.shape[1], views[0].shape[1])
        rows = tf.data.Dataset.from_tensor_slices((indices, seeds[..., 0] % len(views)))
        return rows.map(lambda *row: {name: tf.ensure_shape(tf.numpy_function(gather, row, tf.float32), shape)})

    return load


def image_source(images: Sequence[ImageSource], augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> BatchSource:
    """Batches {"image": [B, S, S, 3]} of decoded, augmented images; `augment(file bytes, seed)` gives one."""
    read, formats = read_from(images)

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64), tf.TensorSpec((2,), tf.int32)], autograph=False)
    def decode(i: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:  # traced once, rather than in every epoch
        return augment(read(i), seed)

    with only_formats(formats):
        decode.get_concrete_function()

    def load(indices: np.ndarray, seeds: np.ndarray) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices((indices.reshape(-1).astype(np.int64), seeds.reshape(-1, 2)))
        decoded = rows.map(decode, num_parallel_calls=THREADS, deterministic=True)
        return decoded.batch(indices.shape[1], drop_remainder=True).map(lambda image: {"image": image})

    return load


def read_from(images: Sequence[ImageSource]) -> tuple[Callable[[tf.Tensor], tf.Tensor], frozenset[str]]:
    """A function for graphs, from an image's index to file bytes that the graph decodes (`prepare_image`).

    Also the formats that these files can have, for `only_formats`. There is no limit of pixels: that images are within
    it is checked before training and evaluation, once.
    """
    with ThreadPoolExecutor() as pool:
        formats = frozenset(pool.map(_format, images))
    # Only if the graph decodes all, it reads them itself: a call of Python, even in a branch that is not taken, would
    # make tf.data decode one image at a time where operations are deterministic.
    if "other" in formats:

        def content(i: np.ndarray) -> bytes:
            return prepare_image(read_image(images[int(i)]), max_pixels=sys.maxsize)

        return lambda i: tf.ensure_shape(tf.numpy_function(content, [i], tf.string), ()), ALL
    from_memory = isinstance(images[0], bytes)
    contents = tf.constant(list(images))

    def read(i: tf.Tensor) -> tf.Tensor:
        return contents[i] if from_memory else tf.io.read_file(contents[i])

    return read, formats


def _format(image: ImageSource) -> str:
    """The format of a file, or of bytes, that the graph reads and always decodes; "other" for all else."""
    if isinstance(image, str):
        try:
            with open(image, "rb") as file:
                image = file.read(4)
        except OSError:
            return "JPEG"  # any: reading it in the graph gives the error
    return format_of(image[:4]) if isinstance(image, bytes) else "other"


def image_batches(
    images: Sequence[ImageSource], decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], batch_size: int
) -> tf.data.Dataset:
    """Batches [b, S, S, 3] of all images in order, the last may be smaller; `decode(file bytes, index)` gives one."""
    read, formats = read_from(images)

    @tf.autograph.experimental.do_not_convert  # there is no Python control flow, and converting it takes three seconds
    def row(i: tf.Tensor) -> tf.Tensor:
        return decode(read(i), i)

    with only_formats(formats):
        rows = tf.data.Dataset.range(len(images)).map(row, num_parallel_calls=THREADS, deterministic=True)
    return read_ahead(rows.batch(batch_size))
