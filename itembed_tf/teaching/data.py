"""What lessons need of a run: the text encoder's weights, training captions to keep, and dev to measure recall on.

A training writes it beside the exported encoders as ``teaching.npz``, and `itembed index` copies it into the index, so
that a lesson needs neither the run nor its dataset.
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
from itembed_tf.export_layout import TEACHING_FILE
from itembed_tf.files import write_atomically
from itembed_tf.retrieval.array_file import DAMAGE, read_arrays
from itembed_tf.text import Vocabulary

SCHEMA = 3
MAX_BYTES = 1 << 30  # of all arrays
MAX_HEADER = 1 << 26  # the vocabulary is a part of the header
_ARRAYS = ("captions", "caption_groups", "dev_images", "dev_image_groups", "dev_captions", "dev_caption_groups")


class TeachingError(UserError, RuntimeError):
    """A name or image that cannot be taught, or encoders that cannot be; the message says what to do."""


@dataclass(frozen=True, eq=False)
class TeachingData:
    """A text encoder that can be trained, and what shows that a lesson does no harm.

    Attributes:
        contract: contract hash of the encoders before any lesson.
        image_weights: checksum of the image encoder's weights, a part of every contract hash.
        image_settings, encoding_settings: other parts of it (`itembed_tf.exporting.EncoderPair`).
        towers: arguments of `itembed_tf.models.text_tower.text_tower` but for the sizes of vocabulary and text; of each
            member of an ensemble, else of the one text tower.
        vocabulary: words and tokenizer before any lesson.
        weights: of the text encoder, float32, in the order of its variables.
        captions: word ids of training captions, int32 [m, L], 0 = padding: those of the bank of the calibration.
        caption_groups: int32 [m], their training groups.
        dev_images: embeddings, float16 [n, D], unit length; dev_image_groups: int32 [n].
        dev_captions: word ids, int32 [k, L]; dev_caption_groups: int32 [k].
    """

    contract: str
    image_weights: str
    image_settings: Mapping[str, Any]
    encoding_settings: Mapping[str, Any]
    towers: tuple[Mapping[str, Any], ...]
    vocabulary: Vocabulary
    weights: tuple[NDArray[np.float32], ...]
    captions: NDArray[np.int32]
    caption_groups: NDArray[np.int32]
    dev_images: NDArray[np.float16]
    dev_image_groups: NDArray[np.int32]
    dev_captions: NDArray[np.int32]
    dev_caption_groups: NDArray[np.int32]


def write_data(folder: str | Path, data: TeachingData) -> Path:
    """Write ``teaching.npz`` into a folder of exported encoders, atomically; return the file."""
    return write_atomically(Path(folder) / TEACHING_FILE, teaching_bytes(data))


def teaching_bytes(data: TeachingData) -> bytes:
    """The content of ``teaching.npz``."""
    vocabulary = data.vocabulary
    header = {
        "schema": SCHEMA,
        **{name: getattr(data, name) for name in ("contract", "image_weights")},
        **{name: dict(getattr(data, name)) for name in ("image_settings", "encoding_settings")},
        "towers": [dict(tower) for tower in data.towers],
        "vocabulary": {name: getattr(vocabulary, name) for name in ("words", "tokenizer", "lowercase", "length")},
        "weights": len(data.weights),
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
    arrays |= {name: getattr(data, name) for name in _ARRAYS}
    arrays |= {f"weight{i}": weight for i, weight in enumerate(data.weights)}
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def read_data(folder: str | Path, contract: str) -> TeachingData | None:
    """The data of exported encoders; None where the folder has none. Raises TeachingError as `parse_data`."""
    file = Path(folder) / TEACHING_FILE
    return parse_data(file.read_bytes(), contract, str(file)) if file.is_file() else None


def parse_data(content: bytes, contract: str, name: str = TEACHING_FILE) -> TeachingData:
    """Read the content of ``teaching.npz``; `name` is what messages call it.

    Raises:
        TeachingError: damaged, larger than it may be, or of other encoders than those of `contract`.
    """
    try:
        arrays = read_arrays(content, max_bytes=MAX_BYTES, max_header=MAX_HEADER)
        header = json.loads(str(arrays["header"]))
        if header.pop("schema") != SCHEMA or header["contract"] != contract:
            raise ValueError("of another version, or of other encoders")
        words = header.pop("vocabulary")
        weights = tuple(arrays[f"weight{i}"] for i in range(header.pop("weights")))
        vocabulary = Vocabulary(tuple(words.pop("words")), **words)
        header["towers"] = tuple(header["towers"])
        fields: dict[str, Any] = header | {array: arrays[array] for array in _ARRAYS}
        data = TeachingData(**fields, vocabulary=vocabulary, weights=weights)
        _check(data)
    except DAMAGE as error:
        raise TeachingError(
            f"{name} cannot be used ({error}); remove it, and give the run with `itembed teach --run`, from which it "
            "is made again"
        ) from None
    return data


def _check(data: TeachingData) -> None:
    """Raise ValueError for arrays that do not fit together."""
    length, size = data.vocabulary.length, data.vocabulary.size
    for name in ("captions", "dev_captions"):
        ids = getattr(data, name)
        if (
            ids.dtype != np.int32
            or ids.shape[1:] != (length,)
            or not len(ids)
            or not 0 <= ids.min() <= ids.max() < size
        ):
            raise ValueError(f"{name} are no word ids of {length} columns below {size}")
    if data.dev_images.dtype != np.float16 or data.dev_images.ndim != 2 or not np.isfinite(data.dev_images).all():
        raise ValueError("dev_images are no finite float16 rows")
    for rows, groups in (("captions", "caption_groups"), ("dev_captions", "dev_caption_groups")):
        if getattr(data, groups).shape != getattr(data, rows).shape[:1]:
            raise ValueError(f"{groups} do not fit {rows}")
    if data.dev_image_groups.shape != data.dev_images.shape[:1]:
        raise ValueError("dev_image_groups do not fit dev_images")
    if set(data.dev_image_groups.tolist()) != set(data.dev_caption_groups.tolist()):
        raise ValueError("dev has images without a caption, or captions without an image")
    if any(weight.dtype != np.float32 or not np.isfinite(weight).all() for weight in data.weights):
        raise ValueError("weights are not float32, or not finite")
