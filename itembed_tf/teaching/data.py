"""What a lesson needs of a run: the text encoder's weights, captions to repeat, and dev to measure recall on.

It is made once from the run and its dataset (`itembed_tf.teaching.preparation`), and stored in the index as
``teaching/<first 16 characters of the contract hash>.npz``, so that a lesson needs neither.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.errors import UserError
from itembed_tf.files import write_atomically
from itembed_tf.retrieval.array_file import DAMAGE, read_arrays
from itembed_tf.text import Vocabulary

SCHEMA = 1
FOLDER = "teaching"  # in an index
SHORT_HASH = 16  # characters of a contract hash in the name of the file
MAX_BYTES = 1 << 30  # of all arrays
MAX_HEADER = 1 << 26  # the vocabulary is a part of the header
_ARRAYS = (
    "captions",
    "caption_vectors",
    "caption_features",
    "dev_images",
    "dev_image_groups",
    "dev_features",
    "dev_outputs",
    "dev_caption_groups",
)


class TeachingError(UserError, RuntimeError):
    """A name or image that cannot be taught, or encoders that cannot be; the message says what to do."""


@dataclass(frozen=True, eq=False)
class TeachingData:
    """A text encoder that can be trained, and what shows that a lesson does no harm.

    Attributes:
        contract: contract hash of the encoders before any lesson.
        image_weights: checksum of the image encoder's weights, a part of every contract hash.
        image_settings, encoding_settings: other parts of it (`itembed_tf.exporting.EncoderPair`).
        tower: arguments of `itembed_tf.models.text_tower.text_tower` but for the sizes of vocabulary and text.
        vocabulary: words and tokenizer before any lesson.
        weights: of the text encoder, float32, in the order of its variables.
        captions: word ids of training captions, int32 [m, L], 0 = padding.
        caption_vectors: their embeddings before any lesson, float16 [m, D].
        caption_features: inputs of the last linear layer, float16 [m, F]; lessons leave them as they are.
        dev_images: embeddings, float16 [n, D], unit length; dev_image_groups: int32 [n].
        dev_features: of the captions, inputs of the last linear layer, float16 [k, F].
        dev_outputs: their embeddings before any lesson and before they get unit length, float16 [k, D].
        dev_caption_groups: int32 [k].
    """

    contract: str
    image_weights: str
    image_settings: Mapping[str, Any]
    encoding_settings: Mapping[str, Any]
    tower: Mapping[str, Any]
    vocabulary: Vocabulary
    weights: tuple[NDArray[np.float32], ...]
    captions: NDArray[np.int32]
    caption_vectors: NDArray[np.float16]
    caption_features: NDArray[np.float16]
    dev_images: NDArray[np.float16]
    dev_image_groups: NDArray[np.int32]
    dev_features: NDArray[np.float16]
    dev_outputs: NDArray[np.float16]
    dev_caption_groups: NDArray[np.int32]


def data_file(index: str | Path, contract: str) -> Path:
    """Where an index has the data of encoders; `contract` is that before any lesson."""
    return Path(index) / FOLDER / f"{contract[:SHORT_HASH]}.npz"


def write_data(file: Path, data: TeachingData) -> None:
    """Write the data, atomically; its folder is created."""
    vocabulary = data.vocabulary
    header = {
        "schema": SCHEMA,
        **{name: getattr(data, name) for name in ("contract", "image_weights")},
        **{name: dict(getattr(data, name)) for name in ("image_settings", "encoding_settings", "tower")},
        "vocabulary": {name: getattr(vocabulary, name) for name in ("words", "tokenizer", "lowercase", "length")},
        "weights": len(data.weights),
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
    arrays |= {name: getattr(data, name) for name in _ARRAYS}
    arrays |= {f"weight{i}": weight for i, weight in enumerate(data.weights)}
    content = io.BytesIO()
    np.savez(content, **arrays)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, content.getvalue())


def read_data(file: Path, contract: str) -> TeachingData | None:
    """Read the data of encoders; None where there is no file.

    Raises:
        TeachingError: the file is damaged, larger than it may be, or belongs to other encoders.
    """
    if not file.is_file():
        return None
    try:
        arrays = read_arrays(file.read_bytes(), max_bytes=MAX_BYTES, max_header=MAX_HEADER)
        header = json.loads(str(arrays["header"]))
        if header.pop("schema") != SCHEMA or header["contract"] != contract:
            raise ValueError("of another version, or of other encoders")
        words = header.pop("vocabulary")
        weights = tuple(arrays[f"weight{i}"] for i in range(header.pop("weights")))
        vocabulary = Vocabulary(tuple(words.pop("words")), **words)
        fields: dict[str, Any] = header | {name: arrays[name] for name in _ARRAYS}
        return TeachingData(**fields, vocabulary=vocabulary, weights=weights)
    except DAMAGE as error:
        raise TeachingError(
            f"{file} cannot be used ({error}); remove it, and give the run with --run, from which it is made again"
        ) from None
