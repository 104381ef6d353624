"""What text_tower.variant stands for, without TensorFlow."""

from __future__ import annotations

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
