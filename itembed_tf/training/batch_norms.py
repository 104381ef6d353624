"""How batch norms compute in a training step: by one fused operation, or with the statistics of all replicas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from itembed_tf.models.replicas import replica_count, summed


def fuse_batch_norms(model: keras.Model) -> None:
    """Let the batch norms of a model on one device compute by one operation, in steps that are traced afterwards.

    Keras computes the mean, the variance and the output one after the other, and each reads the whole input again. A
    batch norm of 112 x 112 x 96 so took three times as long on a CPU. Inference, frozen batch norms, and inputs that
    are no images stay with Keras.
    """
    for layer in _batch_norms(model):
        suited = layer.scale and layer.center and not layer.renorm and layer._reduction_axes == [0, 1, 2]
        if suited and layer.epsilon >= MINIMUM_EPSILON:
            layer.call = partial(_fused, layer)


def synchronise_batch_norms(model: keras.Model) -> None:
    """Let the batch norms of a model use the statistics of all replicas, in steps that are traced afterwards.

    Keras has this too (``synchronized=True``), with the variance as the mean of squares minus the square of the mean,
    which loses digits where the mean is far from 0, and with an exchange more.
    """
    for layer in _batch_norms(model):
        layer._moments = partial(_moments, axes=tuple(layer._reduction_axes))


MINIMUM_EPSILON = 1.001e-5  # of the fused operation on a GPU


def _batch_norms(model: keras.Model) -> Iterator[Any]:
    return (layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization))


def _fused(layer: Any, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
    """In place of `keras.layers.BatchNormalization.call`."""
    if not (training and layer.trainable) or mask is not None:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    outputs, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.cast(layer.gamma.value, tf.float32),
        offset=tf.cast(layer.beta.value, tf.float32),
        mean=[],
        variance=[],
        epsilon=layer.epsilon,
        is_training=True,
    )
    rows = tf.cast(tf.size(inputs, tf.int64) // inputs.shape[-1], tf.float32)
    variance = unbiased * (tf.maximum(rows - 1.0, 1.0) / rows)  # Keras keeps that of the batch itself
    for kept, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        kept.assign(kept * layer.momentum + new * (1.0 - layer.momentum))
    return outputs


def _moments(inputs: tf.Tensor, mask: Any, *, axes: tuple[int, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over all replicas, which have equally many rows; in place of a private method of Keras."""
    assert mask is None, "no layer of a tower has a mask"
    mean = summed(tf.reduce_mean(inputs, axes)) / replica_count()
    shape = [1 if axis in axes else inputs.shape[axis] for axis in range(len(inputs.shape))]
    squares = tf.math.squared_difference(inputs, tf.stop_gradient(tf.reshape(mean, shape)))
    return mean, summed(tf.reduce_mean(squares, axes)) / replica_count()
