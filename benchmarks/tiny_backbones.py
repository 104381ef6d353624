"""Tiny networks with random weights as users have them: presets of keras-hub, a .keras file, a file of features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 64  # side of the images, pixels
PRESETS = ("dinov2", "siglip", "clip")
VISION = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64}
TEXT = {
    "vocabulary_size": 64,
    "embedding_dim": 32,
    "hidden_dim": 32,
    "num_layers": 1,
    "num_heads": 2,
    "intermediate_dim": 64,
    "max_sequence_length": 8,
}


def write_preset(name: str, folder: Path, *, converter: bool = True) -> str:
    """Write one of `PRESETS` by keras-hub itself, with its image converter; returns `folder` as a string."""
    import keras_hub

    models, layers = keras_hub.models, keras_hub.layers
    shape = (SIZE, SIZE, 3)
    if name == "dinov2":
        backbone = models.DINOV2Backbone(**VISION, image_shape=shape, position_embedding_shape=shape)
        scale = [1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225)]
        offset = [-mean / deviation for mean, deviation in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
        pixels = layers.DINOV2ImageConverter(image_size=shape[:2], scale=scale, offset=offset)
    elif name == "siglip":
        vision = models.SigLIPVisionEncoder(**VISION, image_shape=shape)
        backbone = models.SigLIPBackbone(vision, models.SigLIPTextEncoder(**TEXT))
        pixels = layers.SigLIPImageConverter(image_size=shape[:2], scale=1 / 127.5, offset=-1.0)
    else:
        vision = models.CLIPVisionEncoder(**VISION, image_shape=shape)
        backbone = models.CLIPBackbone(vision, models.CLIPTextEncoder(**TEXT), projection_dim=24)
        pixels = layers.CLIPImageConverter(image_size=shape[:2], scale=1 / 255)
    backbone.save_to_preset(str(folder))
    if converter:
        pixels.save_to_preset(str(folder))
    return str(folder)


def tiny_network(*, size: int | None = SIZE, first: Sequence[Any] = (), last: Sequence[Any] = ()) -> Any:
    """A CNN of two blocks, image [B, size, size, 3] -> [B, 16], with batch norms that have seen pixels in -1..1.

    Args:
        size: of its images; None for any.
        first, last: further layers, before it and after it.
    """
    import keras

    layers = keras.layers
    x = image = keras.Input((size, size, 3))
    for layer in first:
        x = layer(x)
    for block, width in enumerate((8, 16), 1):
        x = layers.Conv2D(width, 3, 2, padding="same", use_bias=False, name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    for layer in last:
        x = layer(x)
    network = keras.Model(image, x, name="tiny")
    _learn_statistics(network)
    return network


def _learn_statistics(network: Any) -> None:
    """Give the first batch norm the variance of smooth images in -1..1, as training does."""
    import keras

    random = np.random.default_rng(1)
    images = keras.ops.image.resize(random.uniform(-1, 1, (16, 8, 8, 3)).astype(np.float32), (SIZE, SIZE))
    convolution, norm = network.get_layer("block1_conv"), network.get_layer("block1_bn")
    values = keras.ops.convert_to_numpy(convolution(images))
    norm.moving_mean.assign(values.mean(axis=(0, 1, 2)))
    norm.moving_variance.assign(values.var(axis=(0, 1, 2)))


def write_network(file: Path, network: Any = None) -> str:
    """Save a network, by default `tiny_network`, as a .keras file; returns its path as a string."""
    (network or tiny_network()).save(file)
    return str(file)


def write_features(file: Path, root: str, *, width: int = 24) -> str:
    """Write features of a tiny Flickr8k (`benchmarks.tiny_flickr8k`): a random projection of each image's pixels."""
    from PIL import Image

    from itembed_tf.data.readers import image_ids, read_dataset

    groups = read_dataset(name="flickr8k", root=root, splits=("train", "dev"))
    projection = np.random.default_rng(2).normal(size=(16 * 16 * 3, width)) / 30
    pixels = [np.asarray(Image.open(str(group.images[0])).resize((16, 16))).reshape(-1) for group in groups]
    np.save(file, (np.stack(pixels) / 127.5 - 1).astype(np.float32) @ projection.astype(np.float32))
    file.with_suffix(".txt").write_text("\n".join(image_ids(groups)) + "\n", encoding="utf-8")
    return str(file)
