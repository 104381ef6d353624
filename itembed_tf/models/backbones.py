"""Backbones: image [B, S, S, 3], 0..255 -> pooled features [B, F], with their own pixel normalisation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from itembed_tf.config.backbone_forms import APPLICATIONS, kind_of, source_of
from itembed_tf.models.applications import application, with_weights
from itembed_tf.models.architecture import Architecture, architecture_of, from_architecture
from itembed_tf.models.efficientnet_lite import VARIANTS, efficientnet_lite
from itembed_tf.models.hub import hub_network, hub_pixels
from itembed_tf.models.keras_file import load_keras_file
from itembed_tf.models.network import BackboneError, backbone_of, check_range
from itembed_tf.models.pixels import PIXELS, normalise

NO_TOP = "the file without the classifier (notop)"  # which weight file of keras.applications fits
VERSION = re.compile(r"(?!conv)[a-z]+v\d+")
POOLS = {"mean": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}


def build_backbone(
    name: str, *, weights: str, size: int, pixels: str = "own", architecture: Architecture | None = None
) -> keras.Model:
    """Build the model "backbone"; layers keep the names of their source (``conv5_block3_out``, ``block7_1_project``).

    Args:
        name: a key of ``BACKBONES``, "keras:NAME", "keras_hub:PRESET_OR_FOLDER" or "file:MODEL.keras".
        weights: "imagenet", "none", or a local file.
        size: side S of the images in pixels.
        pixels: what the network of a file takes, a key of `itembed_tf.models.pixels.PIXELS`; "own" where it says so.
        architecture: of the backbone, as a run keeps it; its weights are then random.

    Raises:
        ValueError: an unknown name, or a weight file of another network.
        BackboneError: a file or preset that cannot be used as the arguments say.
        FileNotFoundError: no such weight file.
        OSError: the ImageNet weights could not be downloaded; the message says what to do.
    """
    if architecture is not None:
        return from_architecture(architecture, f"the stored backbone {name}")
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise FileNotFoundError(f"image_tower.weights: no file {weights}; allowed: imagenet, none, or a weight file")
    if kind_of(name) == "keras" and source_of(name) in APPLICATIONS:
        return application(source_of(name), weights=weights, size=size)
    if kind_of(name) in ("keras_hub", "file"):
        return _open_backbone(name, weights=weights, size=size, pixels=pixels)
    if name not in BACKBONES:
        raise ValueError(f"image_tower.backbone is {name!r}; allowed: {', '.join(BACKBONES)}")
    return BACKBONES[name](weights=weights, size=size)


def _open_backbone(name: str, *, weights: str, size: int, pixels: str) -> keras.Model:
    """The backbone of a preset of keras-hub or of a file, in the dtype policy of Keras."""
    if kind_of(name) == "keras_hub":
        network, own = hub_network(name, weights=weights), hub_pixels(name)
        if own is None and pixels == "own":
            raise BackboneError(
                f"{name} has no image converter, which would hold its pixel normalisation; set image_tower.pixels to "
                f"one of {', '.join(PIXELS)} (docs/backbones.md)"
            )
        if own is not None and pixels != "own":
            raise BackboneError(
                f'{name} has its own pixel normalisation, so image_tower.pixels = "{pixels}" would be ignored: leave '
                'it at "own"'
            )
        normalisation = own if own is not None else PIXELS[pixels]
    else:
        network, normalisation = load_keras_file(source_of(name), weights=weights == "imagenet"), PIXELS[pixels]
        if weights not in ("imagenet", "none"):
            _load_weights(network, weights, name)
    backbone = backbone_of(network, normalisation, size=size, name=name)
    if weights != "none":
        check_range(network, normalisation, name)
    if keras.config.dtype_policy().name == "float32":
        return backbone
    values, backbone = backbone.get_weights(), from_architecture(architecture_of(backbone), name)
    backbone.set_weights(values)
    return backbone


def _load_weights(network: keras.Model, weights: str, name: str) -> None:
    try:
        network.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{weights} does not fit the model of {name}. {error}") from error


def block_of(layer: str) -> str:
    """The block that a layer belongs to, by its name: up to the first number, as in "block3" of "block3_1_expand".

    Names without a number are blocks of their own, less what follows the only underscore ("stem" of "stem_bn"). The
    number of a network's version, as in "dinov2", does not count.
    """
    words = layer.split("_")
    numbers = (any(c.isdigit() for c in word) and not VERSION.fullmatch(word) for word in words)
    numbered = next((i for i, number in enumerate(numbers, 1) if number), 0)
    if numbered:
        return "_".join(words[:numbered])
    return words[0] if len(words) < 3 else layer


def join_levels(backbone: keras.Model, levels: Sequence[str]) -> keras.Model:
    """Build a model "backbone" with multi-level features: spatial mean and maximum of several layers, concatenated.

    The last layer of an ImageNet network separates object classes and has little else; captions also mention colours,
    materials and scenes, which earlier layers represent. Each mean and each maximum is standardised over its channels,
    so that no level outweighs another by its scale.

    Args:
        backbone: of `build_backbone`.
        levels: names of layers with an output [B, H, W, C], or of blocks ("block3", "conv4"), which mean the last layer
            of the block.

    Returns:
        Model from images as before to features [B, 2 * sum of the C].

    Raises:
        ValueError: no such layer or block, or one without spatial dimensions.
    """
    names = [layer.name for layer in backbone.layers]
    network = backbone.get_layer("network") if "network" in names else backbone  # of a file or preset, it is nested
    maps = [layer.name for layer in network.layers if len(_shape(layer)) == 4]
    last = {block_of(name): name for name in maps}  # of each block
    for level in levels:
        if level not in maps and level not in last:
            known = ", ".join(dict.fromkeys([*last, *maps])) or "none, it has no feature maps"
            raise ValueError(
                f"image_tower.levels: no layer or block {level!r} with spatial dimensions; allowed: {known}"
            )
    # Blocks before layers: block "head" of EfficientNet-Lite has a convolution of the same name.
    outputs = [network.get_layer(last.get(level, level)).output for level in levels]
    if network is not backbone:
        inside = keras.Model(network.input, outputs, name="network")
        outputs = keras.tree.flatten(inside(backbone.get_layer("pixels")(backbone.input)))
    pooled = []
    for level, output in zip(levels, outputs):
        for name, pool in POOLS.items():
            x = pool(name=f"{level}_{name}")(output)
            standard = keras.layers.LayerNormalization(center=False, scale=False, name=f"{level}_{name}_standard")
            pooled.append(standard(x))
    return keras.Model(backbone.input, keras.layers.Concatenate(name="levels")(pooled), name=backbone.name)


def _shape(layer: keras.layers.Layer) -> Sequence[int | None]:
    """Shape of a layer's output; () for several outputs."""
    return tuple(getattr(layer.output, "shape", ()))


def five_crops(backbone: keras.Model, size: int) -> keras.Model:
    """Build a model "backbone" whose features are the mean over five crops of the image: the corners and the centre.

    With the mirror images of `evaluation.flip` these are the ten crops of Klein et al. (CVPR 2015), of 224 out of 256
    pixels. `backbone`, from `build_backbone` with `five_crop_size(size)`, is nested in the result.

    Returns:
        Model from images [B, size, size, 3] to features [B, F].
    """
    side = backbone.input.shape[1]
    far, middle = size - side, (size - side) // 2
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    places = ((0, 0), (0, far), (far, 0), (far, far), (middle, middle))
    crops = keras.ops.concatenate([image[:, y : y + side, x : x + side] for y, x in places], axis=0)
    features = keras.ops.reshape(backbone(crops), (len(places), -1, backbone.output.shape[-1]))
    return keras.Model(image, keras.ops.mean(features, axis=0), name=backbone.name)


def five_crop_size(size: int) -> int:
    """Side of a crop: seven eighths of the image, 224 of 256 pixels."""
    return size * 7 // 8


def _resnet(build: Callable[..., keras.Model], *, weights: str, size: int) -> keras.Model:
    """Global average of the last stage: F = 2048."""
    image, pixels = _caffe_pixels(size)
    build_on_pixels = partial(build, include_top=False, pooling="avg", input_tensor=pixels)
    model = with_weights(build_on_pixels, weights, NO_TOP)
    return keras.Model(image, model.output, name="backbone")


def _vgg(build: Callable[..., keras.Model], *, weights: str, size: int) -> keras.Model:
    """fc7 before its ReLU, as in the released code: F = 4096."""
    if weights != "none" and size != 224:
        raise ValueError(f"VGG with weights needs image.size = 224 for its fully connected layers, and it is {size}")
    image, pixels = _caffe_pixels(size)
    model = with_weights(partial(build, include_top=True, input_tensor=pixels), weights, "the file with the classifier")
    fc7 = model.get_layer("fc2")
    fc7.activation = keras.activations.linear
    return keras.Model(image, fc7.output, name="backbone")


def _caffe_pixels(size: int) -> tuple[Any, Any]:
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    return image, normalise(image, PIXELS["bgr"])


BACKBONES: dict[str, Callable[..., keras.Model]] = {
    **{name: partial(efficientnet_lite, name) for name in VARIANTS},
    "resnet50": partial(_resnet, keras.applications.ResNet50),
    "resnet101": partial(_resnet, keras.applications.ResNet101),
    "resnet152": partial(_resnet, keras.applications.ResNet152),
    "vgg16": partial(_vgg, keras.applications.VGG16),
    "vgg19": partial(_vgg, keras.applications.VGG19),
}
