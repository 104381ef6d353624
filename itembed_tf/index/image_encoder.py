"""The image encoder that an index carries: image files to vectors, with the reason for each that cannot be decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from itembed_tf.config import Config
from itembed_tf.data.image_headers import ImageError, read_header
from itembed_tf.data.pillow_images import damage, prepare_image
from itembed_tf.export_layout import DEFAULT_SIGNATURE
from itembed_tf.index.encoders import stored_image_encoder
from itembed_tf.quiet import load_tensorflow

BATCH_BYTES = 1 << 26  # of images: HEIC and some others are decoded to three bytes a pixel before

Embedded: TypeAlias = "NDArray[np.float32] | str"  # a vector [D], or what is wrong with the image, after "is"


class ImageEncoder:
    """Encodes image files.

    Args:
        index: folder of the index.
        contract: contract hash of the encoders.
        max_pixels: an image of more pixels, by its header, is not decoded.

    Raises:
        SearchIndexError: the index has no image encoder of this contract.
    """

    def __init__(self, index: str | Path, contract: str, max_pixels: int = Config.max_pixels) -> None:
        load_tensorflow()  # before anything else imports it, and prints
        folder = stored_image_encoder(index, contract)
        import tensorflow as tf

        self._model = tf.saved_model.load(str(folder))
        self._encode = self._model.signatures[DEFAULT_SIGNATURE]
        self._constant, self._error = tf.constant, tf.errors.InvalidArgumentError
        self.max_pixels = max_pixels

    def embed(self, contents: Sequence[bytes]) -> list[Embedded]:
        """A vector float32 [D] of unit length for each image file, or what is wrong with it."""
        results: list[Embedded] = [""] * len(contents)
        for batch in self._batches(contents, results):
            for i, vector in zip(batch, self._embed_batch(list(batch.values()))):
                results[i] = vector
        return results

    def _batches(self, contents: Sequence[bytes], results: list[Embedded]) -> Iterator[dict[int, bytes]]:
        """Prepared files by position; for one that cannot be prepared, the reason is put into `results`."""
        batch, size = dict[int, bytes](), 0
        for i, content in enumerate(contents):
            try:
                prepared = prepare_image(content, max_pixels=self.max_pixels)
            except ImageError as error:
                results[i] = str(error)
                continue
            if batch and size + len(prepared) > BATCH_BYTES:
                yield batch
                batch, size = {}, 0
            batch[i] = prepared
            size += len(prepared)
        if batch:
            yield batch

    def _embed_batch(self, contents: list[bytes]) -> Sequence[Embedded]:
        try:
            return list(self._call(contents))
        except self._error:
            return [self._embed_one(content) for content in contents]

    def _embed_one(self, content: bytes) -> Embedded:
        try:
            return self._call([content])[0]
        except self._error:
            return damage(content, read_header(content))

    def _call(self, contents: list[bytes]) -> NDArray[np.float32]:
        # An array of objects: a constant of a list of bytes copies them four times.
        outputs: Any = self._encode(image_bytes=self._constant(np.array(contents, object)))
        return np.asarray(outputs["embedding"])
