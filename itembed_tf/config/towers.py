"""The settings of the two towers: sections image_tower and text_tower."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from itembed_tf.config import choices
from itembed_tf.config.backbones import BACKBONES
from itembed_tf.config.key import key

# Of both towers.
_hidden = partial(key, 2048, "fc-bn-relu-dropout-fc: units of the hidden layer", minimum=1)
_head_dropout = partial(key, 0.5, "fc-bn-relu-dropout-fc: dropout rate after the hidden layer", minimum=0, below=1)


@dataclass(frozen=True)
class ImageTower:
    """Backbone and head of the image encoder."""

    target: ClassVar[str] = "itembed_tf.models.image_tower.image_tower"
    backbone: str = key(
        "efficientnet-lite0",
        "network that encodes images (docs/backbones.md)",
        choices=tuple(BACKBONES),
        forms=choices.BACKBONE_FORMS,
    )
    weights: str = key(
        "imagenet",
        "imagenet (keras_hub, file: the pretrained weights of the preset or file), none, or a file: .h5, or .pth for "
        "efficientnet-lite",
    )
    pixels: str = key(
        "own",
        "what the network of a file takes: RGB 0..255, 0..1 or -1..1; imagenet: RGB less mean, over deviation; bgr: "
        "BGR less mean; own: as the backbone or preset itself says",
        choices=("own", *choices.PIXELS),
    )
    features: str = key(
        "", "a .npy file of image features in place of images and a backbone; its ids are in the .txt file beside it"
    )
    levels: tuple[str, ...] = key(
        (), "blocks or layers of the backbone to pool (mean and maximum) as features, such as block3; [] for its own"
    )
    crops: int = key(
        1, "features: mean over 1 (the whole image) or 5 crops (corners and centre)", choices=(1, 5), advanced=True
    )
    head: str = key("fc-bn", "layers after the backbone", choices=choices.HEADS)
    hidden: int = _hidden()
    dropout: float = _head_dropout()


@dataclass(frozen=True)
class TextTower:
    """The text encoder."""

    target: ClassVar[str] = "itembed_tf.models.text_tower.text_tower"
    variant: str = key(
        "wide",
        "paper: residual blocks as in the paper's text; released: as in its code; wide: two stages without strides, "
        "for small data; features: a head on fixed sentence features, see [sentence]",
        choices=choices.TEXT_VARIANTS,
    )
    depth: int = key(50, "number of blocks, as in ResNet-50 or ResNet-152", choices=(50, 152))
    width: float = key(1.0, "multiplier of the channels of every stage", minimum=0.02, maximum=16)
    word_width: int = key(50, "dimensions of the word embedding", minimum=1, maximum=4096)
    stem: int = key(0, "channels (times width) of a 1x2 convolution before the blocks", minimum=0, maximum=65536)
    blocks: tuple[int, ...] = key(
        (), "residual blocks per stage; [] as the variant, [0] for none", minimum=0, maximum=100
    )
    strides: tuple[int, ...] = key((), "stride of each stage; [] as the variant", minimum=1, maximum=8)
    zero_gamma: bool = key(True, "start each block as the identity: gamma of its last batch norm is 0")
    mask_padding: bool = key(True, "keep padding at zero after each block and out of the pooling")
    pooling: str = key("variant", "pooling over words", choices=("variant", *choices.POOLINGS))
    head: str = key("variant", "layers after the pooling", choices=("variant", *choices.HEADS))
    hidden: int = _hidden()
    dropout: float = _head_dropout()
