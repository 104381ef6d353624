"""The exact softmax of a classifier whose classes are shared out over replicas (`SharedClassifier` with shards).

Each replica has the logits of all rows of the batch for its own classes. Only one maximum, one sum and one logit of
each row are exchanged, as in the model-parallel softmax of insightface (Partial FC with a rate of 1, arXiv:2203.15565).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from itembed_tf.models.replicas import gathered, replica_count, replica_number, summed

Tensor = Any


def sharded_instance_loss(logits: Tensor, labels: Tensor, *, classes: int, label_smoothing: float) -> Tensor:
    """The instance loss over all classes; equal on all replicas to `itembed_tf.training.losses.instance_loss`.

    Args:
        logits: of the classes of this replica, float32 [B, n]; those behind the last class are very low.
        labels: classes of the rows of the whole batch, int32 [B].
        classes: C.
        label_smoothing: as there.

    Returns:
        Scalar float32.
    """
    own, position = _own_labels(logits, labels)
    highest = tf.stop_gradient(tf.reduce_max(_of_replicas(tf.reduce_max(logits, axis=1)), axis=0))
    total = summed(tf.reduce_sum(tf.exp(logits - highest[:, None]), axis=1))
    target = summed(tf.where(own, tf.gather(logits, position, batch_dims=1), 0.0))
    denominators = tf.math.log(total) + highest
    losses = denominators - target
    if label_smoothing > 0:
        is_class = replica_number() * logits.shape[1] + tf.range(logits.shape[1]) < classes
        mean = summed(tf.reduce_sum(tf.where(is_class, logits, 0.0), axis=1)) / classes
        losses = (1 - label_smoothing) * losses + label_smoothing * (denominators - mean)
    return tf.reduce_mean(losses)


def sharded_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of rows whose highest logit is that of their class: scalar float32, equal on all replicas."""
    own, position = _own_labels(logits, labels)
    highest = _of_replicas(tf.reduce_max(logits, axis=1))
    hit = tf.logical_and(own, tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), position))
    winner = tf.argmax(highest, axis=0, output_type=tf.int32)  # of equals the first, as with all classes on one device
    hits = summed(tf.cast(tf.logical_and(hit, tf.equal(winner, replica_number())), tf.float32))
    return tf.reduce_mean(hits)


def _own_labels(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the class of each row is one of this replica, and its position among them (0 where it is not)."""
    position = labels - replica_number() * logits.shape[1]
    own = tf.logical_and(position >= 0, position < logits.shape[1])
    return own, tf.where(own, position, 0)


def _of_replicas(values: Tensor) -> Tensor:
    """A vector of each replica, [replicas, B]."""
    return tf.reshape(gathered(values), [replica_count(), -1])
