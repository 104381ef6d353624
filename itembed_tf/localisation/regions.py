"""Regions of a split: true and proposed boxes, and the frozen backbone's features of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from itembed_tf.data.cached_rows import cached_rows
from itembed_tf.data.decoding import only_formats
from itembed_tf.data.feature_cache import image_checksums
from itembed_tf.data.images import load_crops
from itembed_tf.data.sources import THREADS, read_from
from itembed_tf.files import cache_folder, checksum
from itembed_tf.localisation.boxes import box_features, enclosing
from itembed_tf.localisation.entities import AnnotatedImage, located
from itembed_tf.localisation.phrases import normalise_phrase
from itembed_tf.models.inference import inference_function

BATCH = 128  # crops encoded at a time


@dataclass(frozen=True)
class LocatedPhrase:
    """A phrase with a true box."""

    image: int  # index of the image
    text: str  # as in the caption
    normalised: str
    types: tuple[str, ...]
    row: int  # row of its true box


@dataclass(frozen=True)
class Regions:
    """Regions of all images, one row each: for each image its true boxes (one a chain), then its proposals.

    Attributes:
        images: in order.
        boxes: int32 [R, 4].
        proposed: rows of the proposals of each image.
        located: all phrases with a true box, in the order of the images.
        features: backbone features of each box's crop, float16 [R, F]; memory-mapped.
        positions: position features float32 [R, 5] (`boxes.box_features`), or [R, 0].
    """

    images: Sequence[AnnotatedImage]
    boxes: np.ndarray
    proposed: list[slice]
    located: list[LocatedPhrase]
    features: np.ndarray
    positions: np.ndarray

    def rows(self, rows: np.ndarray | slice) -> np.ndarray:
        """Network input of the given rows: float32 [n, F + 5]."""
        return np.concatenate([self.features[rows].astype(np.float32), self.positions[rows]], axis=1)

    @property
    def width(self) -> int:
        return self.features.shape[1] + self.positions.shape[1]


def encode_regions(
    images: Sequence[AnnotatedImage], proposals: Mapping[str, np.ndarray], backbone: keras.Model, *, positions: bool
) -> Regions:
    """Collect boxes and phrases of a split and compute backbone features of all boxes; the features are cached on disk.

    Args:
        images: annotated images of one split.
        proposals: image id -> boxes int32 [n, 4], best first.
        backbone: frozen; pixels [B, S, S, 3] -> features [B, F].
        positions: add position features; otherwise `Regions.positions` has no columns.
    """
    boxes: list[np.ndarray] = []
    counts, proposed, located_phrases, positions_of_boxes = [], [], [], []
    start = 0
    for number, image in enumerate(images):
        phrases = located(image)
        chains = list(dict.fromkeys(phrase.chain for phrase in phrases))
        true = [enclosing(image.boxes[chain])[None] for chain in chains]
        boxes_of_image = np.concatenate([*true, proposals[image.id]])
        located_phrases += [
            LocatedPhrase(
                number, phrase.text, normalise_phrase(phrase.text), phrase.types, start + chains.index(phrase.chain)
            )
            for phrase in phrases
        ]
        proposed.append(slice(start + len(chains), start + len(boxes_of_image)))
        positions_of_boxes.append(
            box_features(boxes_of_image, image.width, image.height)[:, : None if positions else 0]
        )
        boxes.append(boxes_of_image.astype(np.int32))
        counts.append(len(boxes_of_image))
        start += len(boxes_of_image)
    all_boxes = np.concatenate(boxes)
    features = _features([image.path for image in images], all_boxes, counts, backbone)
    return Regions(images, all_boxes, proposed, located_phrases, features, np.concatenate(positions_of_boxes))


def _features(paths: Sequence[str], boxes: np.ndarray, counts: Sequence[int], backbone: keras.Model) -> np.ndarray:
    weights = [keras.ops.convert_to_numpy(variable).tobytes() for variable in backbone.variables]
    size = backbone.input.shape[1]
    key = checksum("1", str(size), *weights, str(counts), boxes.tobytes(), *image_checksums(paths))[:32]
    path = cache_folder("regions") / f"{key}.npy"

    def encoded(first: int) -> Iterable[tf.Tensor]:
        ragged = tf.RaggedTensor.from_row_lengths(boxes, counts)

        read, formats = read_from(paths)

        def crops(i: tf.Tensor, boxes_of_image: tf.Tensor) -> tf.Tensor:
            return load_crops(read(i), boxes_of_image, size=size)

        data = tf.data.Dataset.from_tensor_slices((np.arange(len(paths)), ragged))
        with only_formats(formats):
            data = data.map(crops, num_parallel_calls=THREADS)
        data = data.unbatch().skip(first).batch(BATCH).prefetch(2)
        return map(inference_function(backbone), data)

    shape = (len(boxes), backbone.output.shape[-1])
    return cached_rows(path, encoded, shape, "regions", dtype=np.float16, unit=" boxes")
