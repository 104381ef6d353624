"""Images of a lesson that are not in the index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.image_encoder import ImageEncoder
from itembed_tf.index.records import Generation
from itembed_tf.teaching.data import TeachingError


def embed_images(index: Path, generation: Generation, images: Sequence[bytes]) -> NDArray[np.float32]:
    """Embeddings of image files by the image encoder of an index: float32 [n, D], unit length.

    Raises:
        TeachingError: an image that cannot be read.
        SearchIndexError: the index has no image encoder.
    """
    vectors = ImageEncoder(index, generation.image_contract).embed(images)
    for i, vector in enumerate(vectors):
        if isinstance(vector, str):
            raise TeachingError(f"image {i + 1} of the lesson is {vector}")
    return np.stack(vectors)
