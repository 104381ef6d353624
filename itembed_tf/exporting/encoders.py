"""A dual-path model -> its encoders on disk: what the export programs and the end of training both call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from itembed_tf.config import ConfigError, arguments, load_config
from itembed_tf.exporting.contract import contract_hash
from itembed_tf.exporting.litert import write_tflite_text_encoder
from itembed_tf.exporting.saved_model import write_saved_models
from itembed_tf.models.dual_path import encoder
from itembed_tf.text import Vocabulary
from itembed_tf.training.run_directory import load_model, open_run


def run_encoders(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A finished run as the keyword arguments of `write_encoders` and `write_edge_encoder`.

    Raises:
        RunError: the run is not there or not finished.
        ConfigError: an override of anything but evaluation.flip, evaluation.shifts or image.fit; the rest of a run is
            in its weights.
    """
    run = open_run(path)
    config = load_config(run.path / "config.toml", overrides)
    image = replace(run.config.image, fit=config.image.fit)
    if replace(run.config, evaluation=config.evaluation, image=image) != config:
        raise ConfigError(
            f"--set {' '.join(overrides)}: an export can set evaluation.flip, evaluation.shifts and image.fit; "
            "everything else is part of the trained run"
        )
    averaging = {"flip": config.evaluation.flip, "shifts": config.evaluation.shifts}
    return {"model": load_model(run), "vocabulary": run.vocabulary, **arguments(image), **averaging}


def write_encoders(
    out: str | Path, *, model: keras.Model, vocabulary: Vocabulary, size: int, fit: str, flip: bool, shifts: str
) -> Path:
    """Both sides of a dual-path model as SavedModels of the next free version; returns the path of ``encoders.json``.

    Args:
        out: folder of all versions.
        model: the dual-path model, float32 (`itembed_tf.training.run_directory.load_model`).
        vocabulary: of the run.
        size, fit: how a picture is prepared (`itembed_tf.data.images.load_image`).
        flip, shifts: how the encoders average (`itembed_tf.models.dual_path.encoder`).

    Raises:
        ParityError: a reloaded artefact does not answer as the model does; nothing is published then.
    """
    return write_saved_models(out, **sides(model, vocabulary, size, fit, flip, shifts))


def write_edge_encoder(
    out: str | Path, *, model: keras.Model, vocabulary: Vocabulary, size: int, fit: str, flip: bool, shifts: str
) -> Path:
    """The text side as a TFLite file under the contract hash of the pair; arguments as `write_encoders`."""
    pair = sides(model, vocabulary, size, fit, flip, shifts)
    return write_tflite_text_encoder(
        out, text_encoder=pair["text_encoder"], vocabulary=vocabulary, contract=contract_hash(**pair)
    )


def sides(model: keras.Model, vocabulary: Vocabulary, size: int, fit: str, flip: bool, shifts: str) -> dict[str, Any]:
    """Both encoders of a dual-path model and their settings: the keyword arguments of `contract_hash`."""
    return {
        "image_encoder": encoder(model, "image", flip=flip),
        "text_encoder": encoder(model, "text", shifts=shifts),
        "vocabulary": vocabulary,
        "image": {"size": size, "fit": fit},
        "encoding": {"flip": flip, "shifts": shifts},
    }
