"""Dropout whose mask is that of the whole batch, however many replicas share it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from itembed_tf.models.replicas import own_rows, replica_count


class BatchDropout(keras.layers.Dropout):
    """Dropout of Keras. With several replicas each takes its rows of the mask that one device would draw.

    Replicas have the same random state: with Keras' layer all of them would use one mask.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs [n, ...] with a share of the numbers 0 and the others scaled up, in training; else as they are."""
        if replica_count() == 1 or not training or not self.rate:
            return super().call(inputs, training=training)
        whole = ops.ones([replica_count() * inputs.shape[0], *inputs.shape[1:]], inputs.dtype)
        return inputs * own_rows(super().call(whole, training=True))
