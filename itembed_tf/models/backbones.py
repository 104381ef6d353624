"""ImageNet backbones: image [B, S, S, 3], 0..255 -> pooled features [B, F], with their own pixel normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from itembed_tf.models.efficientnet_lite import VARIANTS, efficientnet_lite

POOLS = {"mean": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
BGR_MEAN = (103.939, 116.779, 123.68)  # of ImageNet; for the ResNet and VGG weights of keras.applications


def build_backbone(name: str, *, weights: str, size: int) -> keras.Model:
    """Build the model "backbone"; layers keep the names of their source (``conv5_block3_out``, ``block7_1_project``).

    Args:
        name: a key of ``BACKBONES``.
        weights: "imagenet", "none", or a local file.
        size: side S of the images in pixels.

    Raises:
        ValueError: an unknown name, or a weight file of another network.
        FileNotFoundError: no such weight file.
        OSError: the ImageNet weights could not be downloaded; the message says what to do.
    """
    if name not in BACKBONES:
        raise ValueError(f"image_tower.backbone is {name!r}; allowed: {', '.join(BACKBONES)}")
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise FileNotFoundError(f"image_tower.weights: no file {weights}; allowed: imagenet, none, or a weight file")
    return BACKBONES[name](weights=weights, size=size)


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
    maps = [layer.name for layer in backbone.layers if len(layer.output.shape) == 4]
    last = {name.split("_")[0]: name for name in maps}  # of each block
    pooled = []
    for level in levels:
        if level not in maps and level not in last:
            known = ", ".join(dict.fromkeys([*last, *maps]))
            raise ValueError(
                f"image_tower.levels: no layer or block {level!r} with spatial dimensions; allowed: {known}"
            )
        # Blocks before layers: block "head" of EfficientNet-Lite has a convolution of the same name.
        output = backbone.get_layer(last.get(level, level)).output
        for name, pool in POOLS.items():
            x = pool(name=f"{level}_{name}")(output)
            standard = keras.layers.LayerNormalization(center=False, scale=False, name=f"{level}_{name}_standard")
            pooled.append(standard(x))
    return keras.Model(backbone.input, keras.layers.Concatenate(name="levels")(pooled), name=backbone.name)


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
    model = _with_weights(partial(build, include_top=False, pooling="avg", input_tensor=pixels), weights)
    return keras.Model(image, model.output, name="backbone")


def _vgg(build: Callable[..., keras.Model], *, weights: str, size: int) -> keras.Model:
    """fc7 before its ReLU, as in the released code: F = 4096."""
    if weights != "none" and size != 224:
        raise ValueError(f"VGG with weights needs image.size = 224 for its fully connected layers, and it is {size}")
    image, pixels = _caffe_pixels(size)
    model = _with_weights(partial(build, include_top=True, input_tensor=pixels), weights)
    fc7 = model.get_layer("fc2")
    fc7.activation = keras.activations.linear
    return keras.Model(image, fc7.output, name="backbone")


def _caffe_pixels(size: int) -> tuple[Any, Any]:
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    bgr = keras.ops.flip(image, axis=-1)
    return image, keras.layers.Rescaling(1.0, offset=[-mean for mean in BGR_MEAN], dtype="float32", name="pixels")(bgr)


def _with_weights(build: Callable[..., keras.Model], weights: str) -> keras.Model:
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
            raise ValueError(
                f"{weights} does not fit this backbone. ResNet needs the file without the classifier (notop), VGG the "
                f"one with it. {error}"
            ) from error
    return model


BACKBONES: dict[str, Callable[..., keras.Model]] = {
    **{name: partial(efficientnet_lite, name) for name in VARIANTS},
    "resnet50": partial(_resnet, keras.applications.ResNet50),
    "resnet101": partial(_resnet, keras.applications.ResNet101),
    "resnet152": partial(_resnet, keras.applications.ResNet152),
    "vgg16": partial(_vgg, keras.applications.VGG16),
    "vgg19": partial(_vgg, keras.applications.VGG19),
}
