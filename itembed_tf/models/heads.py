"""Embedding heads: pooled features of an image or text -> embedding."""

from __future__ import annotations

from typing import Any

import keras

from itembed_tf.config.choices import HEADS
from itembed_tf.models.dropout import BatchDropout

# Batch norm of the released code: epsilon 1e-3, momentum 0.95.
BATCH_NORM = {"epsilon": 1e-3, "momentum": 0.95}


def new_weights() -> keras.initializers.Initializer:
    """Initialiser of all new layers: uniform within +-sqrt(3 / fan_in), variance 1 / fan_in (released code)."""
    return keras.initializers.VarianceScaling(scale=1.0, mode="fan_in", distribution="uniform")


def embedding_head(x: Any, *, head: str, hidden: int, dropout: float, embedding_size: int, name: str) -> Any:
    """Features [B, F] -> embedding [B, embedding_size]; layers are named ``{name}_fc1``, ``{name}_bn1``, ...

    The last ReLU, the dropout before the classifier and unit normalisation follow it (`itembed_tf.models.dual_path`).

    Args:
        head: ``fc-bn`` (released text head), ``fc-bn-relu-fc`` with biases and a hidden layer of ``embedding_size``
            (paper, section 3.1), ``fc-bn-relu-fc-bn`` without biases and with a hidden layer as wide as the
            features (released image head: 2048 for ResNet-50, 4096 for VGG-19), ``fc`` with a bias (a linear map, as
            CCA gives it), or ``fc-bn-relu-dropout-fc`` with biases (a branch of the two-branch network, as its public
            code has it; there epsilon 1e-5).
        hidden, dropout: ``fc-bn-relu-dropout-fc``: width of its hidden layer, and dropout rate on it.

    Raises:
        ValueError: an unknown head.
    """
    if head not in HEADS:
        raise ValueError(f"head is {head!r}; allowed: {', '.join(HEADS)}")
    widths = {"fc-bn-relu-fc-bn": x.shape[-1], "fc-bn-relu-dropout-fc": hidden}
    bias = head not in ("fc-bn", "fc-bn-relu-fc-bn")
    first = widths.get(head, embedding_size)
    x = keras.layers.Dense(first, use_bias=bias, kernel_initializer=new_weights(), name=f"{name}_fc1")(x)
    if head == "fc":
        return x
    x = keras.layers.BatchNormalization(**BATCH_NORM, name=f"{name}_bn1")(x)
    if head == "fc-bn":
        return x
    x = keras.layers.ReLU(name=f"{name}_relu1")(x)
    if head == "fc-bn-relu-dropout-fc":
        x = BatchDropout(dropout, name=f"{name}_dropout1")(x)
    x = keras.layers.Dense(embedding_size, use_bias=bias, kernel_initializer=new_weights(), name=f"{name}_fc2")(x)
    if head == "fc-bn-relu-fc-bn":
        x = keras.layers.BatchNormalization(**BATCH_NORM, name=f"{name}_bn2")(x)
    return x
