"""A split as arrays: its boxes, true and proposed, and what the frozen backbone says of what is in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from itembed_tf.data.batches import THREADS
from itembed_tf.data.feature_cache import image_checksums, write_rows
from itembed_tf.data.images import load_crops
from itembed_tf.files import cache_folder, checksum
from itembed_tf.localisation.boxes import box_features, enclosing
from itembed_tf.localisation.entities import Annotated, located
from itembed_tf.localisation.phrases import plain
from itembed_tf.models.inference import inference_function

BATCH = 128  # crops encoded at a time


@dataclass(frozen=True)
class LocatedPhrase:
    """A phrase of a picture that has a true box."""

    picture: int  # its place among the pictures
    text: str  # as the sentence has it
    plain: str
    types: tuple[str, ...]
    row: int  # of its true box


@dataclass(frozen=True)
class Regions:
    """Of every picture in turn the true boxes, one a chain, and then the proposals, each a row.

    Attributes:
        pictures: in their order.
        boxes: int32 [R, 4].
        proposed: for each picture the rows of its proposals.
        asked: every located phrase, in the order of the pictures.
        features: float16 [R, F], of the crop of each box; memory-mapped.
        places: float32 [R, 5], where the box lies (`boxes.box_features`); or [R, 0].
    """

    pictures: Sequence[Annotated]
    boxes: np.ndarray
    proposed: list[slice]
    asked: list[LocatedPhrase]
    features: np.ndarray
    places: np.ndarray

    def rows(self, rows: np.ndarray | slice) -> np.ndarray:
        """What the network sees of some rows: float32 [n, F + 5]."""
        return np.concatenate([self.features[rows].astype(np.float32), self.places[rows]], axis=1)

    @property
    def width(self) -> int:
        return self.features.shape[1] + self.places.shape[1]


def look_at(
    pictures: Sequence[Annotated], proposals: Mapping[str, np.ndarray], backbone: keras.Model, *, places: bool
) -> Regions:
    """Lay out boxes and phrases of a split, and encode what is in each box, once: the cache folder keeps the features.

    Args:
        pictures: of one split.
        proposals: id -> int32 [n, 4], best first.
        backbone: pixels [B, S, S, 3] to features [B, F]; frozen.
        places: whether the network sees where a box lies; else `Regions.places` has no columns.
    """
    boxes: list[np.ndarray] = []
    counts, proposed, asked, lie = [], [], [], []
    start = 0
    for number, picture in enumerate(pictures):
        phrases = located(picture)
        chains = list(dict.fromkeys(phrase.chain for phrase in phrases))
        true = [enclosing(picture.boxes[chain])[None] for chain in chains]
        own = np.concatenate([*true, proposals[picture.id]])
        asked += [
            LocatedPhrase(number, phrase.text, plain(phrase.text), phrase.types, start + chains.index(phrase.chain))
            for phrase in phrases
        ]
        proposed.append(slice(start + len(chains), start + len(own)))
        lie.append(box_features(own, picture.width, picture.height)[:, : None if places else 0])
        boxes.append(own.astype(np.int32))
        counts.append(len(own))
        start += len(own)
    together = np.concatenate(boxes)
    features = _features([picture.image for picture in pictures], together, counts, backbone)
    return Regions(pictures, together, proposed, asked, features, np.concatenate(lie))


def _features(images: Sequence[str], boxes: np.ndarray, counts: Sequence[int], backbone: keras.Model) -> np.ndarray:
    weights = [keras.ops.convert_to_numpy(variable).tobytes() for variable in backbone.variables]
    size = backbone.input.shape[1]
    key = checksum("1", str(size), *weights, str(counts), boxes.tobytes(), *image_checksums(images))[:32]
    path = cache_folder("regions") / f"{key}.npy"
    if not path.exists():
        encode = inference_function(backbone)
        ragged = tf.RaggedTensor.from_row_lengths(boxes, counts)

        def crops(image: tf.Tensor, some: tf.Tensor) -> tf.Tensor:
            return load_crops(tf.io.read_file(image), some, size=size)

        data = tf.data.Dataset.from_tensor_slices((list(images), ragged))
        data = data.map(crops, num_parallel_calls=THREADS).unbatch().batch(BATCH).prefetch(2)
        shape = (len(boxes), backbone.output.shape[-1])
        write_rows(path, map(encode, data), shape, "regions", dtype=np.float16, unit=" boxes")
    return np.load(path, mmap_mode="r", allow_pickle=False)
