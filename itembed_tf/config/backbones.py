"""The backbones: names of their blocks and layers, and what weight files they take, without TensorFlow.

`itembed_tf.models.backbones` builds them; tests compare the names with those of the real networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """A backbone by its architecture.

    Attributes:
        family: "efficientnet-lite", "resnet" or "vgg".
        depths: residual blocks of each stage, for vgg convolutions.
        features: dimensions of the backbone's own features.
        suffixes: of the weight files that it loads.
    """

    family: str
    depths: tuple[int, ...]
    features: int
    suffixes: tuple[str, ...]

    @property
    def blocks(self) -> tuple[str, ...]:
        """Blocks that can be frozen, from input to output: the first part of the names of layers with weights."""
        if self.family == "efficientnet-lite":
            return ("stem", *(f"block{i}" for i in range(1, len(self.depths) + 1)), "head")
        if self.family == "resnet":
            return ("conv1", *(f"conv{i + 1}" for i in range(1, len(self.depths) + 1)))
        return (*(f"block{i}" for i in range(1, len(self.depths) + 1)), "fc1", "fc2")

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers whose output is a feature map [B, H, W, C], which image_tower.levels may name."""
        makers = {"efficientnet-lite": _lite_layers, "resnet": _resnet_layers, "vgg": _vgg_layers}
        return ("image", "pixels", *makers[self.family](self.depths))

    @property
    def levels(self) -> tuple[str, ...]:
        """Values that image_tower.levels may hold: blocks, which stand for their last layer, and layers."""
        return tuple(dict.fromkeys([*(name.split("_")[0] for name in self.layers), *self.layers]))

    def freezable(self, levels: Sequence[str]) -> tuple[str, ...]:
        """Blocks of the backbone up to the last of `levels`; all blocks where there are none."""
        if not levels:
            return self.blocks
        names = [level.split("_")[0].replace("pool1", "conv1") for level in levels]  # pool1 of resnet follows conv1
        return self.blocks[: max((self.blocks.index(name) + 1 for name in names if name in self.blocks), default=0)]


def _lite_layers(depths: Sequence[int]) -> Iterator[str]:
    yield from ("stem", "stem_bn", "stem_relu")
    for stage, depth in enumerate(depths, start=1):
        for block in range(1, depth + 1):
            place = f"block{stage}_{block}"
            for part in ("expand", "depthwise") if stage > 1 else ("depthwise",):
                yield from (f"{place}_{part}", f"{place}_{part}_bn", f"{place}_{part}_relu")
            yield from (f"{place}_project", f"{place}_project_bn")
            if block > 1:
                yield f"{place}_add"
    yield from ("head", "head_bn", "head_relu")


def _resnet_layers(depths: Sequence[int]) -> Iterator[str]:
    yield from ("conv1_pad", "conv1_conv", "conv1_bn", "conv1_relu", "pool1_pad", "pool1_pool")
    for stage, depth in enumerate(depths, start=2):
        for block in range(1, depth + 1):
            place = f"conv{stage}_block{block}"
            for part in (1, 2):
                yield from (f"{place}_{part}_conv", f"{place}_{part}_bn", f"{place}_{part}_relu")
            if block == 1:
                yield from (f"{place}_0_conv", f"{place}_0_bn")
            yield from (f"{place}_3_conv", f"{place}_3_bn", f"{place}_add", f"{place}_out")


def _vgg_layers(depths: Sequence[int]) -> Iterator[str]:
    for stage, depth in enumerate(depths, start=1):
        yield from (f"block{stage}_conv{i}" for i in range(1, depth + 1))
        yield f"block{stage}_pool"


_LITE = ("efficientnet-lite", 1280, (".pth", ".h5"))
_RESNET = ("resnet", 2048, (".h5",))
_VGG = ("vgg", 4096, (".h5",))


def _backbone(family: tuple[str, int, tuple[str, ...]], *depths: int) -> Backbone:
    name, features, suffixes = family
    return Backbone(name, depths, features, suffixes)


BACKBONES = {
    "efficientnet-lite0": _backbone(_LITE, 1, 2, 2, 3, 3, 4, 1),
    "efficientnet-lite1": _backbone(_LITE, 1, 3, 3, 4, 4, 5, 1),
    "efficientnet-lite2": _backbone(_LITE, 1, 3, 3, 4, 4, 5, 1),
    "resnet50": _backbone(_RESNET, 3, 4, 6, 3),
    "resnet101": _backbone(_RESNET, 3, 4, 23, 3),
    "resnet152": _backbone(_RESNET, 3, 8, 36, 3),
    "vgg16": _backbone(_VGG, 2, 2, 3, 3, 3),
    "vgg19": _backbone(_VGG, 2, 2, 4, 4, 4),
}
