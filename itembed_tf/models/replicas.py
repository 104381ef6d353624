"""The replicas of a distributed training, as layers and losses see them: rows gathered and sums over all of them.

A replica has the same number of images of every batch as the others, in the order of their numbers. With one replica,
as in any training on one device, all functions return what they are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

_images: ContextVar[int] = ContextVar("images of the replica", default=0)


def replica_count() -> int:
    """Number of replicas of the step that is being traced; 1 outside of a distributed step."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def replica_number() -> Any:
    """Number of this replica, 0 for the first, and outside of a distributed step."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context else 0


def gathered(rows: tf.Tensor) -> tf.Tensor:
    """The rows [n, ...] of all replicas, [replicas * n, ...]; gradients go back to the replica of each row.

    A sum of arrays that are zero but for the replica's own rows: `all_gather` of tf.distribute exchanges shapes first,
    which takes longer than the rows, and its gradient does so again.
    """
    count = replica_count()
    if count == 1:
        return rows
    if rows.dtype == tf.int32:  # which TensorFlow keeps in the memory of the host
        return tf.cast(gathered(tf.cast(rows, tf.int64)), tf.int32)
    before = replica_number()
    paddings = [[before, count - 1 - before], *([0, 0] for _ in rows.shape)]
    places = tf.ensure_shape(tf.pad(rows[None], paddings), [count, *rows.shape])
    return tf.reshape(summed(places), [count * rows.shape[0], *rows.shape[1:]])


def summed(values: Any) -> Any:
    """Tensors, or a list of them, summed over the replicas; the gradient is that of the sum."""
    if replica_count() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


@contextmanager
def images_of_replica(count: int) -> Iterator[None]:
    """Say how many images a replica has in the step that the block traces, for `own_rows`."""
    token = _images.set(count)
    try:
        yield
    finally:
        _images.reset(token)


def own_rows(rows: tf.Tensor) -> tf.Tensor:
    """The rows of this replica, [n, ...], of those of the whole batch, [replicas * n, ...].

    A batch of B images with k captions each has caption j of image i in row j*B + i, so that the rows of a replica are
    k parts of it.
    """
    count = replica_count()
    if count == 1:
        return rows
    images = _images.get()
    parts = tf.reshape(rows, [-1, count, images, *rows.shape[1:]])
    return tf.reshape(parts[:, replica_number()], [rows.shape[0] // count, *rows.shape[1:]])


def components(variable: Any) -> Sequence[tf.Variable]:
    """The variables of one replica each, of this process, that a variable stands for; itself where it is not one."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    return tuple(value.values) if isinstance(value, tf.distribute.DistributedValues) else (value,)


def local_replicas() -> list[int]:
    """Numbers of the replicas of this process, in the scope of a strategy; [0] outside."""
    strategy, numbers = tf.distribute.get_strategy(), []

    def number(context: Any) -> tf.Tensor:
        numbers.append(context.replica_id_in_sync_group)
        return tf.zeros([])

    if strategy.num_replicas_in_sync == 1:
        return [0]
    strategy.experimental_distribute_values_from_function(number)
    return numbers
