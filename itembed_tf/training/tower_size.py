"""Sizes of the towers by arithmetic, without TensorFlow: parameters, feature dimensions, activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from itembed_tf.config import Config
from itembed_tf.config.backbones import BACKBONES
from itembed_tf.config.text_variants import VARIANTS
from itembed_tf.config.towers import ImageTower, TextTower

# Of the networks without their classifier; tests compare them with the real ones.
PARAMETERS = {
    "efficientnet-lite0": 3_371_024,
    "efficientnet-lite1": 4_135_840,
    "efficientnet-lite2": 4_811_410,
    "resnet50": 23_587_712,
    "resnet101": 42_658_176,
    "resnet152": 58_370_944,
    "vgg16": 134_260_544,
    "vgg19": 139_570_240,
}
NORM = 4  # parameters of a batch norm for each channel
SAVED = 3  # arrays of the size of a convolution's output that its gradient needs: it, its batch norm's, its ReLU's


class Convolution(NamedTuple):
    """A 1 x window convolution of the text tower: weights with its batch norm, values of its output for a caption."""

    weights: int
    outputs: int


def backbone_parameters(tower: ImageTower) -> int | None:
    """Parameters of the image backbone; None where only the network itself knows."""
    return 0 if tower.features else PARAMETERS.get(tower.backbone)


def feature_dimensions(tower: ImageTower) -> int | None:
    """Dimensions of the image features; None where only the network itself knows."""
    if tower.features:
        from itembed_tf.data.feature_file import feature_width

        return feature_width(tower.features)
    known = BACKBONES.get(tower.backbone)
    return known.features if known and not tower.levels else None


def text_parameters(config: Config, words: int) -> int:
    """Parameters of the text tower with a vocabulary of so many words."""
    tower = config.text_tower
    if tower.variant == "features":
        width = config.sentence.size or config.sentence.words
        return width * tower.hidden + tower.hidden * config.embedding_size
    channels, pooled = tower.word_width, _pooled(tower)
    last = _channels(tower)[-1] if _channels(tower) else channels
    head = pooled * last * config.embedding_size
    if "fc-bn-relu" in (VARIANTS[tower.variant]["head"] if tower.head == "variant" else tower.head):
        head += config.embedding_size**2
    return words * tower.word_width + sum(each.weights for each in _convolutions(config)) + head


def text_activations(config: Config, captions: int) -> int:
    """Bytes that a step keeps of the text tower's layers for its gradients."""
    if config.text_tower.variant == "features":
        return 0
    return 4 * SAVED * captions * sum(each.outputs for each in _convolutions(config))


def _pooled(tower: TextTower) -> int:
    pooling = VARIANTS[tower.variant]["pooling"] if tower.pooling == "variant" else tower.pooling
    return 2 if pooling == "mean+max" else 1


def _blocks(tower: TextTower) -> tuple[int, ...]:
    blocks: tuple[int, ...] = tower.blocks or VARIANTS[tower.variant]["blocks"][tower.depth]
    return blocks


def _channels(tower: TextTower) -> list[int]:
    """Channels after the stem and after each stage that has blocks."""
    stem = [round(tower.stem * tower.width)] if round(tower.stem * tower.width) else []
    stages = [round(128 * 2**number * tower.width) for number, count in enumerate(_blocks(tower), 1) if count]
    return [*stem, *stages]


def _convolutions(config: Config) -> Iterator[Convolution]:
    """The convolutions, as `itembed_tf.models.text_tower.text_tower` builds them."""
    tower, length = config.text_tower, config.text.length
    blocks = _blocks(tower)
    strides = tower.strides or (VARIANTS[tower.variant]["strides"] + (1,) * len(blocks))[: len(blocks)]
    before = tower.word_width
    if stem := round(tower.stem * tower.width):
        yield Convolution((2 * before + NORM) * stem, length * stem)
        before = stem
    for number, (count, stride) in enumerate(zip(blocks, strides), start=1):
        out = round(128 * 2**number * tower.width)
        for block in range(count):
            first = block == 0
            narrow = 4 if tower.variant != "released" or not first else 2 if number == 1 else 1
            middle, after = out // narrow, -(-length // stride) if first else length
            yield Convolution((before + NORM) * middle, length * middle)
            yield Convolution((2 * middle + NORM) * middle, after * middle)
            yield Convolution((middle + NORM) * out, after * out)
            if first:
                yield Convolution((before + NORM) * out, after * out)
            before, length = out, after
