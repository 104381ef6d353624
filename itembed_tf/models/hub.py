"""Networks of keras-hub presets: their image part, and the pixel normalisation that the preset carries."""

from __future__ import annotations

import importlib
from typing import Any

import keras

from itembed_tf.config.backbone_forms import preset_folder, source_of
from itembed_tf.extras import require
from itembed_tf.models.keras_file import DAMAGE
from itembed_tf.models.network import BackboneError
from itembed_tf.models.pixels import Pixels


def hub_network(backbone: str, *, weights: str) -> keras.Model:
    """The image part of a preset, in float32: normalised pixels to features, tokens or a feature map.

    Of a model of images and texts (CLIP, SigLIP) that is the image encoder with its projection; tokenizers and text
    encoders are not used.

    Args:
        backbone: "keras_hub:" and a preset or folder.
        weights: "imagenet" for those of the preset, "none", or a .h5 file of the preset's backbone.

    Raises:
        BackboneError: no such preset, or one without an image encoder.
        MissingExtra: keras-hub is not installed.
        OSError: the preset could not be downloaded.
    """
    hub = _keras_hub()
    try:
        model = hub.models.Backbone.from_preset(_preset(backbone), load_weights=weights == "imagenet", dtype="float32")
        if weights not in ("imagenet", "none"):
            model.load_weights(weights)
        return _image_part(model, backbone)
    except DAMAGE as error:
        if isinstance(error, BackboneError):
            raise
        raise BackboneError(f"{backbone} could not be loaded: {_reason(error)}") from error


def hub_pixels(backbone: str) -> Pixels | None:
    """The normalisation that a preset's image converter holds; None for a preset without one.

    Raises:
        MissingExtra: keras-hub is not installed.
    """
    try:
        converter = _keras_hub().layers.ImageConverter.from_preset(_preset(backbone))
    except (ValueError, TypeError, KeyError, FileNotFoundError):
        return None
    scale = 1.0 if converter.scale is None else _numbers(converter.scale)
    return Pixels(scale, 0.0 if converter.offset is None else _numbers(converter.offset))


def _image_part(model: keras.Model, backbone: str) -> keras.Model:
    if hasattr(model, "get_vision_embeddings"):
        image = keras.Input(model.vision_encoder.image_shape, dtype="float32", name="images")
        return keras.Model(image, model.get_vision_embeddings(image))
    if len(model.inputs) != 1 and isinstance(getattr(model, "vision_encoder", None), keras.Model):
        model = model.vision_encoder
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        raise BackboneError(f"{backbone} is a {type(model).__name__}, which encodes no images")
    return model


def _keras_hub() -> Any:
    require("keras_hub backbones")
    return importlib.import_module("keras_hub")


def _preset(backbone: str) -> str:
    folder = preset_folder(backbone)
    return str(folder) if folder else source_of(backbone)


def _numbers(value: Any) -> float | list[float]:
    return [float(number) for number in value] if isinstance(value, (list, tuple)) else float(value)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
