"""The settings of what follows the training of the weights: memory, evaluation, calibration, lessons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from itembed_tf.config import choices
from itembed_tf.config.key import key


@dataclass(frozen=True)
class Memory:
    """Query expansion: each text embedding is moved towards the training images that it is near to."""

    target: ClassVar[str] = "itembed_tf.models.memory.with_memory"
    rows: int = key(0, "training images to keep in the text encoder; 0 for no memory", minimum=0, maximum=1_000_000)
    weight: float = key(0.3, "weight of these images beside the text", above=0, maximum=10)
    temperature: float = key(0.04, "temperature of the softmax over their cosines with the text", above=0, maximum=10)


@dataclass(frozen=True)
class Evaluation:
    """How evaluation and the encoders embed."""

    target: ClassVar[str] = "itembed_tf.evaluation.embeddings.embedder"
    flip: bool = key(True, "average the features of each image and of its mirror image")
    crops: int = key(
        0,
        "further views to average: the centre of the image (1), its corners (4), or both (5); flip adds mirror images",
        choices=choices.CROPS,
    )
    shifts: str = key("left", "position of a caption: left, or all: the average over all", choices=choices.SHIFTS)
    batch_size: int = key(64, "images or captions per batch", minimum=1, maximum=65536)


@dataclass(frozen=True)
class Calibration:
    """What a search needs beside the encoders: hubness correction and relevance bands (docs/search.md)."""

    target: ClassVar[str] = "itembed_tf.exporting.calibration.calibrate_pair"
    rows: int = key(
        4096, "training captions, and training images, to keep with the encoders; 0 for no calibration", minimum=0
    )


@dataclass(frozen=True)
class Teaching:
    """What `itembed teach` needs beside the encoders, so that names can be taught without the run (docs/search.md)."""

    target: ClassVar[str] = "itembed_tf.teaching.preparation.teaching_data"
    keep: bool = key(True, "write teaching.npz, of about the size of the text encoder; needs calibration.rows above 0")


@dataclass(frozen=True)
class Card:
    """What the model card of an export says that a run cannot know (docs/artifacts.md)."""

    target: ClassVar[str] = "itembed_tf.exporting.card.model_card"
    languages: tuple[str, ...] = key((), 'languages of the captions, by their ISO 639 codes, such as ["en"]')
    license: str = key("unknown", "licence of the weights, by its identifier at Hugging Face, such as apache-2.0")
    data_license: str = key("", "licence of the dataset in words; empty: that of the dataset where known, else unknown")
