"""The embedding head: pooled features of either modality -> the shared space."""

from __future__ import annotations

from typing import Any

import keras

# The batch norms of the released code: epsilon 1e-3, running averages moved by 0.05 a step.
BATCH_NORM = {"epsilon": 1e-3, "momentum": 0.95}

HEADS = ("fc-bn", "fc-bn-relu-fc", "fc-bn-relu-fc-bn")


def new_weights() -> keras.initializers.Initializer:
    """Start of every new layer's weights: uniform within +-sqrt(3 / fan_in), variance 1 / fan_in (released code)."""
    return keras.initializers.VarianceScaling(scale=1.0, mode="fan_in", distribution="uniform")


def embedding_head(x: Any, *, head: str, embedding_size: int, name: str) -> Any:
    """Features [B, F] -> embedding [B, embedding_size]; layers are named ``{name}_fc1``, ``{name}_bn1``, ...

    The last ReLU, the dropout and the unit length are not part of it: they differ between losses (see ``model``).

    Args:
        head: ``fc-bn`` (released text head), ``fc-bn-relu-fc`` with biases and a hidden layer of ``embedding_size``
            (paper, section 3.1), or ``fc-bn-relu-fc-bn`` without biases and with a hidden layer as wide as the
            features (released image head: 2048 for ResNet-50, 4096 for VGG-19).

    Raises:
        ValueError: an unknown head.
    """
    if head not in HEADS:
        raise ValueError(f"head is {head!r}; choose one of: {', '.join(HEADS)}")
    paper = head == "fc-bn-relu-fc"
    hidden = {"fc-bn": embedding_size, "fc-bn-relu-fc": embedding_size, "fc-bn-relu-fc-bn": x.shape[-1]}[head]
    x = keras.layers.Dense(hidden, use_bias=paper, kernel_initializer=new_weights(), name=f"{name}_fc1")(x)
    x = keras.layers.BatchNormalization(**BATCH_NORM, name=f"{name}_bn1")(x)
    if head == "fc-bn":
        return x
    x = keras.layers.ReLU(name=f"{name}_relu1")(x)
    x = keras.layers.Dense(embedding_size, use_bias=paper, kernel_initializer=new_weights(), name=f"{name}_fc2")(x)
    if head == "fc-bn-relu-fc-bn":
        x = keras.layers.BatchNormalization(**BATCH_NORM, name=f"{name}_bn2")(x)
    return x
