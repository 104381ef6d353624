"""Backbones from keras.applications, with the normalisation that their ImageNet weights were trained with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from itembed_tf.config.backbone_forms import APPLICATIONS
from itembed_tf.models.pixels import PIXELS, RGB_DEVIATION, normalise


def application(name: str, *, weights: str, size: int) -> keras.Model:
    """Build the model "backbone": image [B, size, size, 3], 0..255 -> features [B, F], the global average.

    Args:
        name: a key of `itembed_tf.config.backbone_forms.APPLICATIONS`.
        weights: "imagenet", "none", or a .h5 file without the classifier (notop).
        size: side of the images in pixels.

    Raises:
        ValueError: a weight file of another network.
        OSError: the ImageNet weights could not be downloaded; the message says what to do.
    """
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    pixels = normalise(image, PIXELS[APPLICATIONS[name].pixels])
    build = partial(getattr(keras.applications, name), include_top=False, pooling="avg", input_tensor=pixels)
    if name.startswith("EfficientNetB"):
        model = _efficientnet(build, weights)
    else:
        model = with_weights(build, weights, "the file without the classifier (notop)")
    return keras.Model(image, model.output, name="backbone")


def with_weights(build: Callable[..., keras.Model], weights: str, needed: str) -> keras.Model:
    """Build a model of keras.applications with ImageNet weights, with those of a file, or with random ones.

    Args:
        build: takes the argument `weights` of keras.applications.
        weights: "imagenet", "none" or a .h5 file.
        needed: which weight file fits, for the message.

    Raises:
        ValueError: a weight file of another network.
        OSError: the ImageNet weights could not be downloaded.
    """
    if weights == "imagenet":
        try:
            return build(weights="imagenet")
        except Exception as error:  # Keras raises a bare Exception where a download fails
            raise OSError(
                "the ImageNet weights could not be downloaded. Fetch the .h5 file elsewhere (the address is at the end "
                f"of this message) and set image_tower.weights to it, or choose an efficientnet-lite. {error}"
            ) from error
    model = build(weights=None)
    if weights != "none":
        try:
            model.load_weights(weights)
        except (ValueError, OSError) as error:
            raise ValueError(f"{weights} does not fit this backbone, which needs {needed}. {error}") from error
    return model


def _efficientnet(build: Callable[..., keras.Model], weights: str) -> keras.Model:
    """EfficientNet B0 to B7, the same layers with every kind of weights.

    With ``weights="imagenet"`` Keras adds a layer that divides by the square root of the deviation, because the files
    hold deviations in place of variances. Here the variances of the first normalisation are corrected instead.
    """
    model = build(weights=None)
    if weights == "imagenet":
        model.set_weights(with_weights(build, weights, "").get_weights())
    elif weights != "none":
        model = with_weights(build, weights, "the file without the classifier (notop)")
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, *count = layer.get_weights()
    if np.allclose(variance.reshape(-1), RGB_DEVIATION, rtol=1e-3):
        layer.set_weights([mean, variance * np.reshape(np.array(RGB_DEVIATION, np.float32), variance.shape), *count])
        layer.finalize_state()
    return model
