"""The layers of a backbone as JSON, which a run keeps: it can be loaded without the file, preset or features."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import keras

from itembed_tf.models.keras_file import read_layers

Architecture = Mapping[str, Any]


def architecture_of(backbone: keras.Model) -> dict[str, Any]:
    """The layers of a float32 backbone, without weights, in types that JSON has."""
    return dict(keras.saving.serialize_keras_object(backbone))


def from_architecture(architecture: Architecture, name: str) -> keras.Model:
    """The backbone of an architecture with random weights, in the dtype policy of Keras; pixels stay float32.

    Raises:
        BackboneError: a damaged architecture, or one with code; `name` says where it is from.
        MissingExtra: it has layers of keras-hub, which is not installed.
    """
    model = read_layers(dict(architecture), name)
    policy = keras.config.dtype_policy().name
    if policy == "float32":
        return model
    changed = copy.deepcopy(dict(architecture))
    for layer in changed["config"]["layers"]:
        if layer["config"].get("name") not in ("image", "pixels"):
            _set_policy(layer, policy)
    return keras.saving.deserialize_keras_object(changed, safe_mode=True)


def _set_policy(part: Any, policy: str) -> None:
    """Replace the dtype policies inside a serialised layer."""
    if isinstance(part, dict):
        if part.get("class_name") == "DTypePolicy":
            part["config"]["name"] = policy
        for value in part.values():
            _set_policy(value, policy)
    elif isinstance(part, list):
        for value in part:
            _set_policy(value, policy)


def feature_backbone(width: int) -> keras.Model:
    """The model "backbone" of a run on features from a file, [B, width]: it passes them on."""
    features = keras.Input((width,), dtype="float32", name="features")
    return keras.Model(features, keras.layers.Identity(name="passed")(features), name="backbone")
