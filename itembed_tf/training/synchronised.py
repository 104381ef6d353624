"""Batch norms of a model whose batches are shared by replicas: their statistics are those of the whole batch."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from itembed_tf.models.replicas import replica_count, summed


def synchronise_batch_norms(model: keras.Model) -> None:
    """Let the batch norms of a model use the statistics of all replicas, in steps that are traced afterwards.

    Keras has this too (``synchronized=True``), with the variance as the mean of squares minus the square of the mean,
    which loses digits where the mean is far from 0, and with an exchange more.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer._moments = partial(_moments, axes=tuple(layer._reduction_axes))


def _moments(inputs: tf.Tensor, mask: Any, *, axes: tuple[int, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over all replicas, which have equally many rows; in place of a private method of Keras."""
    assert mask is None, "no layer of a tower has a mask"
    mean = summed(tf.reduce_mean(inputs, axes)) / replica_count()
    shape = [1 if axis in axes else inputs.shape[axis] for axis in range(len(inputs.shape))]
    squares = tf.math.squared_difference(inputs, tf.stop_gradient(tf.reshape(mean, shape)))
    return mean, summed(tf.reduce_mean(squares, axes)) / replica_count()
