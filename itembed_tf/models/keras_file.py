"""Networks from ``.keras`` files, which may come from a stranger: no code of the file is run."""

from __future__ import annotations

import copy
import importlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from itembed_tf.config.backbone_forms import CODE_LAYERS
from itembed_tf.extras import require
from itembed_tf.models.network import BackboneError

MAX_CONFIG = 1 << 26  # bytes of the layers' settings; those of a large network are some 500 KB
LIBRARIES = ("keras", "keras_hub", "builtins")  # whose layers a file may have
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError, ImportError, NotImplementedError)


def load_keras_file(file: str | Path, *, weights: bool = True) -> keras.Model:
    """The model of a ``.keras`` file in float32, not compiled.

    Args:
        file: its path.
        weights: its own ones; random weights otherwise.

    Raises:
        BackboneError: a damaged file, one with code (Lambda layers, classes of another library), or one that is not in
            float32.
        MissingExtra: it has layers of keras-hub, which is not installed.
    """
    path = Path(file).expanduser()
    config = _config(path)
    check_layers(config, str(path))
    try:
        if weights:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        return read_layers(config, str(path))
    except DAMAGE as error:
        raise _unreadable(str(path), error) from error


def read_layers(config: dict[str, Any], name: str) -> keras.Model:
    """A model from what `keras.saving.serialize_keras_object` gave, with random weights.

    Raises:
        BackboneError: it has code, or is damaged; `name` says where it is from.
    """
    check_layers(config, name)
    try:
        parts = copy.deepcopy({**config, "compile_config": None})  # Keras takes the layers out of it
        return keras.saving.deserialize_keras_object(parts, safe_mode=True)
    except DAMAGE as error:
        raise _unreadable(name, error) from error


def check_layers(config: dict[str, Any], name: str) -> None:
    """Refuse layers that run code, that are not of Keras or keras-hub, or that compute in half precision.

    Raises:
        BackboneError: naming the first one.
        MissingExtra: layers of keras-hub, which is not installed.
    """
    for part in _objects(config):
        library, kind = str(part.get("module") or "keras").partition(".")[0], str(part["class_name"])
        if kind in CODE_LAYERS or library not in LIBRARIES:
            of = "" if library in LIBRARIES else f" of {part['module']}"
            raise BackboneError(
                f"{name} has a {kind} layer{of}, which runs code of whoever made the file; rebuild the model with "
                "layers of keras or keras-hub and save it again"
            )
        if library == "keras_hub":
            require("keras_hub backbones")
            importlib.import_module("keras_hub")  # registers its layers
        policy = part.get("config", {}).get("name") if kind == "DTypePolicy" else None
        if policy not in (None, "float32"):
            raise BackboneError(f"{name} computes in {policy}; save the model in float32")


def _config(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo("config.json").file_size
            if size > MAX_CONFIG:
                raise BackboneError(f"{path}: config.json in it has {size:,} bytes; the maximum is {MAX_CONFIG:,}")
            content = json.loads(archive.read("config.json"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, BackboneError):
            raise
        raise _unreadable(str(path), error) from error
    if not isinstance(content, dict):
        raise BackboneError(f"{path}: config.json in it is not the settings of a model; save the model again")
    return content


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """All parts of a config that name a class or a function."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def _unreadable(name: str, error: Exception) -> BackboneError:
    reason = " ".join(str(error).split())[:300]
    return BackboneError(f"{name} is damaged, or not a model that this version of Keras reads ({reason})")
