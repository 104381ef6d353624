"""Networks of others as backbones: checks of what they take and give, pixel normalisation before, pooling after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from itembed_tf.errors import UserError
from itembed_tf.models.pixels import Pixels, normalise

SPAN = (0.05, 300.0)  # of pixel values after the normalisation of a network; 0..255 is 255 wide, -1..1 is 2
VARIANCE_RATIO = 100.0  # 0..1 in place of 0..255 changes variances by 65,025; other images change them by less than 10
CLASS_OUTPUTS = ("softmax", "sigmoid")


class BackboneError(UserError, ValueError):
    """A backbone that cannot be used as the config says; the message gives its name and what to do."""


def backbone_of(network: keras.Model, pixels: Pixels, *, size: int, name: str) -> keras.Model:
    """Build the model "backbone" around a network: image [B, size, size, 3], 0..255 -> features [B, F].

    A feature map [B, H, W, C] is averaged over its places, F = C. Of tokens [B, N, C], the first one, which most vision
    transformers train for the whole image, and the mean of all are concatenated, F = 2 C.

    Args:
        network: normalised pixels [B, size, size, 3] to one output.
        pixels: normalisation that the network was trained with.
        size: side of the images in pixels.
        name: of the backbone in the config, for messages.

    Raises:
        BackboneError: a network with another input or output, or for images of another size.
    """
    _check_input(network, size, name)
    _check_output(network, name)
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    inside = keras.Input((size, size, 3), dtype="float32", name="image")
    before = keras.Model(inside, keras.layers.Identity(dtype="float32")(normalise(inside, pixels)), name="pixels")
    network = keras.Model(network.inputs[0], network.outputs[0], name="network")
    try:
        output = network(before(image))
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise BackboneError(f"{name} cannot take images of {size} pixels ({reason}); set image.size") from error
    return keras.Model(image, _pooled(output), name="backbone")


def _check_input(network: keras.Model, size: int, name: str) -> None:
    if len(network.inputs) != 1 or len(network.inputs[0].shape) != 4:
        inputs = ", ".join(str(list(tensor.shape)) for tensor in network.inputs)
        raise BackboneError(f"{name} has the inputs {inputs}; a backbone takes images, [batch, height, width, 3]")
    _, height, width, channels = network.inputs[0].shape
    if channels != 3:
        first = height == 3
        why = "its channels come first; save it with channels last" if first else "it takes no RGB or BGR images"
        raise BackboneError(
            f"{name} takes images {list(network.inputs[0].shape[1:])}, and a backbone [height, width, 3]: {why}"
        )
    if {height, width} - {None, size}:
        raise BackboneError(
            f"{name} takes images of {height} x {width} pixels, and image.size is {size}"
            + (f": set image.size = {height}" if height == width else "; a backbone takes square images")
        )


def _check_output(network: keras.Model, name: str) -> None:
    shapes = [list(tensor.shape) for tensor in network.outputs]
    if len(shapes) != 1 or not 2 <= len(shapes[0]) <= 4 or shapes[0][-1] is None:
        raise BackboneError(
            f"{name} has the outputs {', '.join(map(str, shapes))}; a backbone gives features [batch, F], tokens "
            "[batch, N, C] or a feature map [batch, H, W, C]"
        )
    last = network.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if isinstance(last, keras.layers.Softmax) or (len(shapes[0]) == 2 and activation in CLASS_OUTPUTS):
        raise BackboneError(
            f"{name} is a classifier: its last layer {last.name} gives probabilities of classes. Save the model "
            "without its classifier (include_top=False in keras.applications)"
        )


def _pooled(output: Any) -> Any:
    if len(output.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(name="pool")(output)
    if len(output.shape) == 3:
        mean = keras.layers.GlobalAveragePooling1D(name="pool")(output)
        return keras.layers.Concatenate(name="first_and_mean")([output[:, 0], mean])
    return output


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model in their order, and in place of each nested model its layers."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def check_range(network: keras.Model, pixels: Pixels, name: str) -> None:
    """Check that a network can have been trained on pixels normalised as given, as far as its layers and weights show.

    Its own first layers may normalise: then the values after them must be neither almost constant nor huge. And the
    variances that its first batch normalisation has learned must be those of its input, up to a factor of 100.

    Raises:
        BackboneError: neither can be true, as where pixels are normalised twice or not at all.
    """
    advice = "correct image_tower.pixels (docs/backbones.md)"
    image = np.stack([np.zeros(3), np.full(3, 255.0)])
    low_high = _scaled(image[:, ::-1] if pixels.bgr else image, pixels.scale, pixels.offset)
    own = [layer for layer in _leading(network) if isinstance(layer, _NORMALISING)]
    for layer in own:
        low_high = _after(layer, low_high)
    span = float(np.max(np.abs(low_high[1] - low_high[0])))
    if own and not SPAN[0] <= span <= SPAN[1]:
        what = "twice" if span < SPAN[0] else "to a range that is too large"
        raise BackboneError(
            f"{name}: pixels are normalised {what}: after the layer {own[-1].name} of the network, black and white "
            f"differ by {span:.3g}; {advice}"
        )
    ratio = _variance_ratio(network, pixels)
    if ratio is not None and not 1 / VARIANCE_RATIO <= ratio <= VARIANCE_RATIO:
        raise BackboneError(
            f"{name}: with these pixels, the values before its first batch normalisation have {ratio:.3g} times the "
            f"variance that it has learned: the network was trained on another range; {advice}"
        )


_NORMALISING = (keras.layers.Rescaling, keras.layers.Normalization)


def _leading(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The first layers, as long as they keep or normalise pixels."""
    keeping = (keras.layers.InputLayer, keras.layers.Identity, keras.layers.ZeroPadding2D, *_NORMALISING)
    for layer in leaf_layers(network):
        if not isinstance(layer, keeping):
            return
        yield layer


def _scaled(values: np.ndarray, scale: Any, offset: Any) -> np.ndarray:
    return values * np.reshape(scale, -1) + np.reshape(offset, -1)


def _after(layer: keras.layers.Layer, values: np.ndarray) -> np.ndarray:
    """Pixels [n, 3] after a layer that normalises."""
    return np.asarray(layer(values.astype(np.float32)[:, None, None]))[:, 0, 0]


def _variance_ratio(network: keras.Model, pixels: Pixels) -> float | None:
    """Median over channels: variance before the first batch normalisation over the one that it has learned.

    None where the network has no such layer of its own, or one that has learned nothing.
    """
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms or np.allclose(learned := keras.ops.convert_to_numpy(norms[0].moving_variance), 1.0, atol=1e-3):
        return None
    size = network.inputs[0].shape[1] or 96
    images = normalise(keras.ops.convert_to_tensor(_sample_images(size)), pixels)
    before = keras.Model(network.inputs[0], norms[0].input)(images, training=False)
    measured = np.var(keras.ops.convert_to_numpy(before), axis=tuple(range(len(before.shape) - 1)))
    return float(np.median((measured + 1e-12) / (learned + 1e-12)))


def _sample_images(size: int) -> np.ndarray:
    """Smooth coloured images with some noise, float32 [4, size, size, 3] in 0..255; the same at every call."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (4, 6, 6, 3)).astype(np.float32)
    smooth = keras.ops.convert_to_numpy(keras.ops.image.resize(coarse, (size, size)))
    return np.clip(smooth + random.normal(0, 10, smooth.shape), 0, 255).astype(np.float32)
