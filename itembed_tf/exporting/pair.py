"""The two encoders of a run, with everything that decides their embeddings, under one contract hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.config import Config, ConfigError, arguments, load_config
from itembed_tf.config.backbone_forms import check_views
from itembed_tf.config.checks_card import check_card
from itembed_tf.config.members import member_configs
from itembed_tf.config.text_variants import trailing_padding
from itembed_tf.files import checksum
from itembed_tf.models.dual_path import encoder
from itembed_tf.models.inference import InferenceFunction, inference_function
from itembed_tf.progress import running_clock
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import load_model
from itembed_tf.training.run_directory import open_run

HASH_VERSION = "itembed_tf contract 2"


@dataclass(frozen=True, eq=False)
class EncoderPair:
    """Image encoder and text encoder of one model.

    Args:
        image_encoder: float32 [B, S, S, 3] in 0..255, or features float32 [B, F] of images where the run was trained on
            a file of them -> unit length float32 [B, D].
        text_encoder: int32 [B, L], left-aligned ids, 0 = padding -> unit length float32 [B, D].
        vocabulary: words and tokenizer settings of the text encoder.
        size, fit: preparation of an image (`itembed_tf.data.images.load_image`).
        flip, crops, shifts: averaging inside the encoders (`itembed_tf.models.dual_path.encoder`).
        trailing_padding: number of padding ids after the words of a text beyond which more change no embedding
            (`itembed_tf.config.text_variants.trailing_padding`); None where every id of the input counts.
    """

    image_encoder: keras.Model
    text_encoder: keras.Model
    vocabulary: Vocabulary
    size: int
    fit: str
    flip: bool
    shifts: str
    crops: int = 0
    trailing_padding: int | None = None

    @property
    def embedding_size(self) -> int:
        """D, the dimensions of an embedding."""
        return int(self.image_encoder.output.shape[-1])

    @property
    def features(self) -> int:
        """F, where the image encoder takes features of images from a file; 0 where it takes images."""
        shape = self.image_encoder.input.shape
        return int(shape[1]) if len(shape) == 2 else 0

    @property
    def image_settings(self) -> dict[str, Any]:
        return {"features": self.features} if self.features else {"size": self.size, "fit": self.fit}

    @property
    def encoding_settings(self) -> dict[str, Any]:
        crops = {"crops": self.crops} if self.crops else {}  # without them, the hash is that of earlier versions
        return {"flip": self.flip, "shifts": self.shifts, **crops}

    @cached_property
    def embed_images(self) -> InferenceFunction:
        """The image encoder, compiled for batches of any size, once."""
        return inference_function(self.image_encoder)

    @cached_property
    def embed_ids(self) -> InferenceFunction:
        """The text encoder, compiled for batches of any size, once."""
        return inference_function(self.text_encoder)

    @cached_property
    def contract(self) -> str:
        """Contract hash: SHA-256 (hex) over everything that decides an embedding.

        That is the settings, the words in order, and the bytes of every weight. Only embeddings under one contract
        hash can be compared. Layer names, package versions and dates are not hashed: exporting a run again gives the
        same hash. It is computed once, so do not change the weights of a pair.
        """
        weights = [weights_checksum(model) for model in (self.image_encoder, self.text_encoder)]
        return contract_hash(self.image_settings, self.encoding_settings, self.vocabulary, *weights)


def contract_hash(
    image_settings: Mapping[str, Any],
    encoding_settings: Mapping[str, Any],
    vocabulary: Vocabulary,
    image_weights: str,
    text_weights: str,
) -> str:
    """`EncoderPair.contract` of a pair of these settings; the weights of each encoder are given by their checksum."""
    settings = {"image": dict(image_settings), "encoding": dict(encoding_settings)}
    parts = [HASH_VERSION, json.dumps(settings, sort_keys=True), vocabulary.checksum(), image_weights, text_weights]
    return checksum(*parts)


def weights_checksum(model: keras.Model) -> str:
    """SHA-256 (hex) of the values, dtypes and shapes of the variables of a model, in their order."""
    return checksum(*_weight_checksums(model))


def encoder_pair(model: keras.Model, vocabulary: Vocabulary, config: Config) -> EncoderPair:
    """The encoders of a float32 dual-path model, with the image size, fit and averaging of a config."""
    flip, crops, shifts = config.evaluation.flip, config.evaluation.crops, config.evaluation.shifts
    towers = [arguments(member.text_tower) for member in member_configs(config)]
    return EncoderPair(
        encoder(model, "image", flip=flip, crops=crops),
        encoder(model, "text", shifts=shifts),
        vocabulary,
        **arguments(config.image),
        flip=flip,
        crops=crops,
        shifts=shifts,
        trailing_padding=trailing_padding(towers, shifts),
    )


def load_pair(run: str | Path, overrides: Sequence[str] = ()) -> tuple[keras.Model, EncoderPair]:
    """The float32 dual-path model of a finished run, and its encoders.

    Args:
        run: run directory.
        overrides: ``section.key=value``, of evaluation.flip, evaluation.crops, evaluation.shifts, image.fit and card.

    Raises:
        RunError: the run does not exist or has not finished.
        ConfigError: an override of another setting; those are fixed by the training.
    """
    opened = open_run(run)
    config = load_config(opened.path / "config.toml", overrides)
    image = replace(opened.config.image, fit=config.image.fit)
    check_card(config.card)
    if replace(opened.config, evaluation=config.evaluation, image=image, card=config.card) != config:
        raise ConfigError(
            f"--set {' '.join(overrides)}: an export can change evaluation.flip, evaluation.crops, "
            "evaluation.shifts, image.fit and the section card; everything else is fixed by the training"
        )
    check_views(config)
    with running_clock(f"loading the model of {opened.path}"):
        model = load_model(opened)
        return model, encoder_pair(model, opened.vocabulary, config)


def check_pair(pair: EncoderPair) -> None:
    """Raise ValueError for encoders that do not fit together or are not float32."""
    image, text = pair.image_encoder, pair.text_encoder
    image_input = (None, pair.features) if pair.features else (None, pair.size, pair.size, 3)
    expected = {
        "image encoder's input": (image.input, image_input, "float32"),
        "text encoder's input": (text.input, (None, pair.vocabulary.length), "int32"),
        "image encoder's output": (image.output, (None, text.output.shape[-1]), "float32"),
        "text encoder's output": (text.output, (None, image.output.shape[-1]), "float32"),
    }
    for name, (tensor, shape, dtype) in expected.items():
        if tuple(tensor.shape) != shape or keras.backend.standardize_dtype(tensor.dtype) != dtype:
            raise ValueError(
                f"the {name} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}; build both encoders "
                "from one float32 model with itembed_tf.exporting.encoder_pair"
            )
    for model in (image, text):
        if low := sorted(_low_precision_layers(model)):
            raise ValueError(
                f"{model.name} computes in half precision ({', '.join(low[:3])}, ...); export a float32 model: "
                "itembed_tf.training.build.load_model rebuilds the model of a run in float32"
            )


def _low_precision_layers(model: keras.Model) -> set[str]:
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    own = {layer.name for layer in model.layers if layer.compute_dtype in ("float16", "bfloat16")}
    return own.union(*map(_low_precision_layers, inner))


def _weight_checksums(model: keras.Model) -> Iterator[str]:
    for variable in model.variables:
        value = np.ascontiguousarray(variable.value.numpy())
        yield checksum(f"{value.dtype} {value.shape}", value.tobytes())
