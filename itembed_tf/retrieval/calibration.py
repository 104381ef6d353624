"""Calibration of a pair of encoders: banks and strengths of the hubness correction, relevance bands, limits of "far".

It is measured once, on train and dev, and written beside the encoders as ``calibration.npz``. An index stores it, so
that a search needs neither the run nor the dataset.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from itembed_tf.errors import UserError
from itembed_tf.files import write_atomically
from itembed_tf.retrieval.array_file import DAMAGE, read_arrays
from itembed_tf.retrieval.bands import Band, band_of
from itembed_tf.retrieval.hubness import Bank, Correction, biases, own_groups
from itembed_tf.retrieval.scores import blocks

SCHEMA = 1
CALIBRATION_FILE = "calibration.npz"
MAX_BYTES = 1 << 30  # of the arrays: two banks of 100,000 rows of 2,048 float16 are 820 MB
MAX_HEADER = 1 << 20

Direction = Literal["text_to_image", "image_to_text", "image_to_image"]
DIRECTIONS: tuple[Direction, ...] = ("text_to_image", "image_to_text", "image_to_image")
_ARRAYS = ("captions", "caption_groups", "images", "image_groups")


class CalibrationError(UserError, ValueError):
    """A calibration file that cannot be read, or that belongs to other encoders; the message says what to do."""


@dataclass(frozen=True)
class Far:
    """The limit below which a query counts as far from everything in training.

    Attributes:
        cosine: limit of the highest cosine of the query with the bank of its own side.
        false_alarms: share of dev queries, of the same domain as train, below it.
    """

    cosine: float
    false_alarms: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a search knows about a pair of encoders beside their vectors.

    Attributes:
        contract: contract hash of the encoders; vectors of others have other hubs and other scores.
        captions, images: banks of training captions and training images.
        corrections: direction -> strength of the hubness correction; a direction without one is not corrected.
        bands: direction -> its relevance bands, best first; empty where dev could not measure them.
        far: "text" and "image" -> the limit of a query that is far from all of train.
        figures: what was measured on dev, for display: direction -> name -> value.
    """

    contract: str
    captions: Bank
    images: Bank
    corrections: Mapping[str, Correction]
    bands: Mapping[str, tuple[Band, ...]] = field(default_factory=dict)
    far: Mapping[str, Far] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def dimensions(self) -> int:
        """D of the embeddings."""
        return int(self.captions.vectors.shape[1])

    def item_biases(
        self, vectors: NDArray[np.floating], kind: Literal["image", "text"]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The bias of gallery items for a text query and for an image query, float32 [n] each.

        Args:
            vectors: [n, D], unit length.
            kind: of the items; a sentence has no bias for a text query, which is no direction that dev measures.
        """
        none = np.zeros(len(vectors), np.float32)
        if kind == "text":
            return none, self._biases(vectors, self.images, "image_to_text", None)
        own = own_groups(vectors, self.images)
        by_text = self._biases(vectors, self.captions, "text_to_image", own)
        return by_text, self._biases(vectors, self.images, "image_to_image", own)

    def _biases(
        self, vectors: NDArray[np.floating], bank: Bank, direction: Direction, own: NDArray[np.int32] | None
    ) -> NDArray[np.float32]:
        correction = self.corrections.get(direction, Correction(0.0, 1))
        return biases(vectors, bank, correction, own)

    def band(self, direction: Direction, score: float) -> str:
        """The band of a hit: "strong", "likely" or "weak"; "" where dev could not measure them.

        Args:
            direction: of the query and the item.
            score: the corrected score of the hit, cosine minus bias; the cosine where `corrections` has no such
                direction.
        """
        return band_of(self.bands.get(direction, ()), score)

    def is_far(self, side: Literal["text", "image"], vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether each query, [n, D], is far from all training captions ("text") or images ("image"): bool [n]."""
        bank = (self.captions if side == "text" else self.images).vectors
        if side not in self.far:
            return np.zeros(len(vectors), np.bool_)
        return nearest_cosine(vectors, bank) < self.far[side].cosine


def nearest_cosine(vectors: NDArray[np.floating], bank: NDArray[np.floating]) -> NDArray[np.float32]:
    """The highest cosine of each vector, [n, D], with the rows of a bank, [m, D]: float32 [n]."""
    rows, nearest = np.asarray(bank, np.float32), np.empty(len(vectors), np.float32)
    for part in blocks(len(vectors), 512):
        nearest[part] = (np.asarray(vectors[part], np.float32) @ rows.T).max(axis=1)
    return nearest


def write_calibration(folder: str | Path, calibration: Calibration) -> Path:
    """Write ``calibration.npz`` into a folder of exported encoders, atomically; return the file."""
    return write_atomically(Path(folder) / CALIBRATION_FILE, calibration_bytes(calibration))


def calibration_bytes(calibration: Calibration) -> bytes:
    """The content of ``calibration.npz``."""
    header = {
        "schema": SCHEMA,
        "contract": calibration.contract,
        "corrections": {name: asdict(value) for name, value in calibration.corrections.items()},
        "bands": {name: [asdict(band) for band in bands] for name, bands in calibration.bands.items()},
        "far": {name: asdict(value) for name, value in calibration.far.items()},
        "figures": {name: dict(values) for name, values in calibration.figures.items()},
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
    for name in ("captions", "images"):
        bank: Bank = getattr(calibration, name)
        arrays |= {name: bank.vectors.astype("<f2"), f"{name[:-1]}_groups": bank.groups.astype("<i4")}
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def read_calibration(folder: str | Path, contract: str) -> Calibration | None:
    """The calibration of exported encoders; None where the folder has none.

    Args:
        folder: with ``encoders.json``.
        contract: contract hash of the encoders.

    Raises:
        CalibrationError: the file is damaged, or belongs to other encoders.
    """
    file = Path(folder) / CALIBRATION_FILE
    if not file.is_file():
        return None
    return parse_calibration(file.read_bytes(), contract, str(file))


def parse_calibration(content: bytes, contract: str, name: str = CALIBRATION_FILE) -> Calibration:
    """Read the content of ``calibration.npz``; `name` is what messages call it.

    Raises:
        CalibrationError: damaged, larger than it may be, or of other encoders than those of `contract`.
    """
    advice = "write it again with `itembed export`, which needs the dataset of the run, or remove it"
    try:
        arrays = read_arrays(content, max_bytes=MAX_BYTES, max_header=MAX_HEADER)
        header = json.loads(str(arrays["header"]))
        if header["schema"] != SCHEMA:
            raise CalibrationError(f"{name} has schema {header['schema']}, this version reads {SCHEMA}; {advice}")
        if header["contract"] != contract:
            raise CalibrationError(
                f"{name} belongs to encoders of the contract {header['contract'][:16]}, not {contract[:16]}; {advice}"
            )
        calibration = Calibration(
            contract=contract,
            captions=Bank(arrays["captions"], arrays["caption_groups"]),
            images=Bank(arrays["images"], arrays["image_groups"]),
            corrections={key: Correction(**value) for key, value in header["corrections"].items()},
            bands={key: tuple(Band(**band) for band in bands) for key, bands in header["bands"].items()},
            far={key: Far(**value) for key, value in header["far"].items()},
            figures=header["figures"],
        )
        _check(calibration)
    except CalibrationError:
        raise
    except DAMAGE as error:
        raise CalibrationError(f"{name} is damaged ({error}); {advice}") from None
    return calibration


def _check(calibration: Calibration) -> None:
    for name in ("captions", "images"):
        bank: Bank = getattr(calibration, name)
        if bank.vectors.ndim != 2 or bank.vectors.dtype != np.float16 or bank.groups.shape != (len(bank.vectors),):
            raise ValueError(f"{name} are {bank.vectors.dtype} {bank.vectors.shape}, groups {bank.groups.shape}")
        if not len(bank.vectors) or not np.isfinite(bank.vectors).all():
            raise ValueError(f"{name} are empty, NaN or infinite")
    if calibration.images.vectors.shape[1] != calibration.dimensions:
        raise ValueError("captions and images have different numbers of dimensions")
    unknown = set(calibration.corrections) - set(DIRECTIONS) | set(calibration.far) - {"text", "image"}
    if unknown or any(not 0 <= each.a <= 10 or each.k < 1 for each in calibration.corrections.values()):
        raise ValueError(f"corrections {dict(calibration.corrections)}")
