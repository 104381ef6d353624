"""Pixel normalisation as layers of a backbone: from RGB in 0..255 to what its network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

BGR_MEAN = (103.939, 116.779, 123.68)  # of ImageNet; for the ResNet and VGG weights of keras.applications
RGB_MEAN, RGB_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pixels in 0..1


class Pixels(NamedTuple):
    """x * scale + offset, of RGB in 0..255 or, with `bgr`, of its channels in reverse order.

    Attributes:
        scale, offset: one number, or one for each channel of the result.
        bgr: whether the result is BGR.
    """

    scale: float | Sequence[float] = 1.0
    offset: float | Sequence[float] = 0.0
    bgr: bool = False


# By image_tower.pixels. "-1..1", "imagenet" and "bgr" are the modes "tf", "torch" and "caffe" of keras.applications.
PIXELS = {
    "0..255": Pixels(),
    "0..1": Pixels(1 / 255),
    "-1..1": Pixels(1 / 127.5, -1.0),
    "imagenet": Pixels(
        [1 / (255 * deviation) for deviation in RGB_DEVIATION],
        [-mean / deviation for mean, deviation in zip(RGB_MEAN, RGB_DEVIATION)],
    ),
    "bgr": Pixels(1.0, [-mean for mean in BGR_MEAN], bgr=True),
}


def normalise(image: Any, pixels: Pixels) -> Any:
    """Image tensor [B, S, S, 3] in 0..255 -> what the network takes, float32 under every dtype policy.

    bfloat16 has too few bits for pixel values.
    """
    if pixels == Pixels():
        return image
    x = keras.ops.flip(image, axis=-1) if pixels.bgr else image
    return keras.layers.Rescaling(pixels.scale, offset=pixels.offset, dtype="float32", name="pixels")(x)
