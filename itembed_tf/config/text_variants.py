"""What text_tower.variant stands for, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

# Values of each variant for the keys that the config leaves to it.
VARIANTS: dict[str, dict[str, Any]] = {
    # As the paper describes it: ResNet blocks with 1x2 in place of 3x3, average pooling, fc-BN-ReLU-fc.
    "paper": {
        "blocks": {50: (3, 4, 6, 3), 152: (3, 8, 36, 3)},
        "strides": (1, 2, 2, 2),
        "pooling": "mean",
        "head": "fc-bn-relu-fc",
    },
    # The released code: one block in the last stage, no bottleneck in first blocks, left padding, max pooling.
    # Its 152-layer text network was not published; the block counts below apply the same change to ResNet-152.
    "released": {
        "blocks": {50: (3, 4, 6, 1), 152: (3, 8, 36, 1)},
        "strides": (1, 2, 2, 1),
        "pooling": "max",
        "head": "fc-bn",
    },
    # For datasets of some thousand images: full length without strides, mean and max pooling.
    "wide": {
        "blocks": {50: (3, 4), 152: (3, 8)},
        "strides": (1, 1),
        "pooling": "mean+max",
        "head": "fc-bn",
    },
}


def blocks_and_strides(
    variant: str, depth: int, blocks: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Residual blocks and stride of each stage; empty ones are those of the variant.

    Raises:
        ValueError: a depth that the variant does not have, or a number of strides other than the number of stages.
    """
    plan = VARIANTS[variant]
    if depth not in plan["blocks"]:
        raise ValueError(f"text_tower.depth: {depth} is not one of {', '.join(map(str, plan['blocks']))}")
    blocks = tuple(blocks) or plan["blocks"][depth]
    strides = tuple(strides) or (plan["strides"] + (1,) * len(blocks))[: len(blocks)]
    if len(strides) != len(blocks):
        raise ValueError(
            f"text_tower.strides: {len(strides)} strides for {len(blocks)} stages of blocks; give one each"
        )
    return blocks, strides


def trailing_padding(towers: Iterable[Mapping[str, Any]], shifts: str) -> int | None:
    """The number of padding ids after the words of a text beyond which more padding changes no embedding.

    A 1x2 convolution of the last word sees one position of padding, in every stage; `mask_padding` makes all positions
    behind it equal. So a text encoder may be given inputs that are shorter than its length.

    Args:
        towers: settings of the text tower, or of those of all members.
        shifts: evaluation.shifts.

    Returns:
        None where every id of the input counts.
    """
    longest = 0
    for tower in towers:
        if shifts != "left" or tower["variant"] == "features" or not tower["mask_padding"]:
            return None
        _, strides = blocks_and_strides(*(tower[key] for key in ("variant", "depth", "blocks", "strides")))
        longest = max(longest, prod(strides))
    return longest
