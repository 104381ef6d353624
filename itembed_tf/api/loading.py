"""`load` a run or an export, and `train` a run; TensorFlow is imported once the arguments are checked."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itembed_tf.api.model import ImageTextModel
from itembed_tf.export_layout import CONTRACT_FILE, DEFAULT_SIGNATURE, ENCODERS

if TYPE_CHECKING:  # it imports TensorFlow
    from itembed_tf.training.loggers import TrainingLogger


def load(path: str | PathLike[str]) -> ImageTextModel:
    """Load the encoders of a finished run directory, or of a folder that ``itembed export`` wrote.

    Raises:
        FileNotFoundError: neither a run directory nor an export.
        RunError: the run has not finished.
        ExportError: an export that this version cannot read.
    """
    path = Path(path)
    if (path / "config.toml").is_file():
        return _load_run(path)
    if (path / CONTRACT_FILE).is_file():
        return _load_export(path)
    missing = "has neither config.toml nor encoders.json" if path.is_dir() else "does not exist"
    raise FileNotFoundError(
        f"{path} {missing}: expected the directory of a finished run (`itembed train` makes one), or a folder that "
        "`itembed export` wrote"
    )


def train(
    config: str | PathLike[str],
    run: str | PathLike[str] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    loggers: Sequence[TrainingLogger] = (),
) -> ImageTextModel:
    """Train as ``itembed train`` does, and load the result. A stopped training is continued by the same call.

    Args:
        config: name of a config, a TOML file, or a folder of images with a ``captions.csv``.
        run: run directory; None: ``runs/<name of the config>``.
        settings: "section.key" -> value, for example ``{"model.scale": 10.0, "stages.0.epochs": 5}``.
        loggers: objects with ``on_stage``, ``on_epoch`` and ``on_end`` (`itembed_tf.training.loggers.TrainingLogger`),
            which get the figures of each epoch, beside the loggers that the config names.

    Raises:
        ConfigError: an unknown config, setting or value.
        RunError: `run` holds a run of another config.
    """
    from itembed_tf.config import check_config, load_config, resolve_config
    from itembed_tf.config.dump import toml_value
    from itembed_tf.extras import require_training

    named = resolve_config(os.fspath(config))
    overrides = [f"{key}={toml_value(_plain(value))}" for key, value in (settings or {}).items()]
    loaded = load_config(named.path, [*named.overrides, *overrides])
    check_config(loaded)
    require_training(loaded)
    path = Path(run or Path("runs") / named.name)
    from itembed_tf.pipeline.train import train as train_run

    train_run(loaded, path, loggers=loggers)
    return load(path)


def _load_run(path: Path) -> ImageTextModel:
    import tensorflow as tf

    from itembed_tf.exporting import load_pair
    from itembed_tf.exporting.endpoints import text_endpoint
    from itembed_tf.exporting.saved_model import endpoint_of_images

    _, pair = load_pair(path)
    image = endpoint_of_images(pair).functions[DEFAULT_SIGNATURE]
    vocabulary_file = str((path / "vocabulary.txt").absolute())
    endpoint = text_endpoint(
        pair.text_encoder,
        vocabulary=pair.vocabulary,
        vocabulary_file=vocabulary_file,
        trailing_padding=pair.trailing_padding,
    )
    text = endpoint.functions[DEFAULT_SIGNATURE]
    return ImageTextModel(
        path,
        pair.embedding_size,
        pair.contract,
        lambda contents: image(tf.constant(contents)),
        lambda contents: text(tf.constant(contents)),
        features=pair.features,
    )


def _load_export(path: Path) -> ImageTextModel:
    import tensorflow as tf

    from itembed_tf.exporting import read_contract

    contract = read_contract(path)
    if "tensorflow_text" in contract.needs:  # registers its ops
        importlib.import_module("tensorflow_text")
    image, text = (tf.saved_model.load(str(path / name / str(contract.version))) for name in ENCODERS)
    image_input = "features" if "features" in contract.image else "image_bytes"
    encode_image, encode_text = image.signatures[DEFAULT_SIGNATURE], text.signatures[DEFAULT_SIGNATURE]
    return ImageTextModel(
        path,
        contract.embedding_size,
        contract.contract,
        lambda contents: encode_image(**{image_input: tf.constant(contents)}),
        lambda contents: encode_text(text=tf.constant(contents)),
        features=int(contract.image.get("features", 0)),
    )


def _plain(value: Any) -> Any:
    """A setting as TOML has it: tables, lists and strings in place of mappings, tuples and paths."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
