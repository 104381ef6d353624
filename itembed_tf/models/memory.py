"""Query expansion by a memory of training images: one attention step after the text encoder."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

NAME = "memory"


class ImageMemory(layers.Layer):
    """Move each text embedding towards the training images that it is near to: unit(x + w unit(softmax(x M' / t) M)).

    M has unit embeddings of training images in its rows. What these images share with each other, and the caption does
    not say, helps to find others like them (cross-modal query expansion). Rows of zeros have no effect, so a memory may
    have more rows than there are images. A text without a known word stays 0.

    Args:
        rows: of M.
        weight: w.
        temperature: t of the softmax over the cosines.
    """

    def __init__(self, *, rows: int, weight: float, temperature: float, **kwargs: Any):
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.rows, self.weight, self.temperature = rows, weight, temperature

    def build(self, input_shape: Any) -> None:
        """Make the rows, which are zeros."""
        self.images = self.add_weight(
            shape=(self.rows, input_shape[-1]), initializer="zeros", trainable=False, name="images"
        )

    def call(self, text: Any) -> Any:
        """Unit text embeddings [B, D] to unit embeddings [B, D]."""
        attention = ops.softmax(ops.matmul(text, ops.transpose(self.images)) / self.temperature)
        recalled = ops.normalize(ops.matmul(attention, self.images))
        known = ops.norm(text, axis=-1, keepdims=True)  # 1, or 0 for a text without a known word
        return ops.normalize(text + self.weight * known * recalled)


def with_memory(model: keras.Model, *, rows: int, weight: float, temperature: float) -> keras.Model:
    """A dual-path model with an empty memory of `rows` images, which its text encoder applies; without rows, the model.

    The layers are those of `model`. Its further output is ``expanded_text_embedding`` [B, D].
    """
    if not rows:
        return model
    memory = ImageMemory(rows=rows, weight=weight, temperature=temperature, name=NAME)
    outputs = {**model.output, "expanded_text_embedding": memory(model.output["text_embedding"])}
    return keras.Model(model.input, outputs, name=model.name)


def memory_of(model: keras.Model) -> ImageMemory | None:
    """The memory of a model of `with_memory`; None where it has none."""
    return next((layer for layer in model.layers if layer.name == NAME), None)


def fill_memory(memory: ImageMemory, images: np.ndarray) -> None:
    """Set the rows of a memory to the unit embeddings of images [n, D], n at most the number of rows."""
    table = np.zeros(tuple(memory.images.shape), np.float32)
    table[: len(images)] = images
    memory.images.assign(table)
