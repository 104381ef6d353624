"""The training step on all replicas at once, and the parts of a batch that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import tensorflow as tf

from itembed_tf.training.distribution import Replicas
from itembed_tf.training.requests import ASKED, Requests
from itembed_tf.training.step import Batch, Step

Parts = list[Batch]  # of a batch, one for each replica of this process


def distributed_step(step: Step, replicas: Replicas, requests: Requests) -> Step:
    """Compile a step of `itembed_tf.training.step.training_step` for replicas: a function of the `Parts` of a batch.

    The scalars are means over the replicas. Among them are those of `ASKED`: above 0 where a worker asks for something.
    """
    strategy = replicas.strategy
    assert strategy is not None

    def on_replica(batch: Batch, asked: tf.Tensor) -> dict[str, tf.Tensor]:
        scalars = step(batch)
        context = tf.distribute.get_replica_context()
        values = tf.concat([tf.stack(list(scalars.values())), asked], 0)
        means = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.MEAN, values))
        return dict(zip([*scalars, *ASKED], means, strict=True))

    @tf.function(autograph=False)
    def on_replicas(batch: Batch, asked: tf.Tensor) -> dict[str, tf.Tensor]:
        scalars = strategy.run(on_replica, args=(batch, asked))
        return {name: strategy.experimental_local_results(scalar)[0] for name, scalar in scalars.items()}

    def take(parts: Parts) -> dict[str, tf.Tensor]:
        batch = {name: replicas.per_replica([part[name] for part in parts]) for name in parts[0]}
        scalars: dict[str, tf.Tensor] = on_replicas(batch, tf.constant(requests.as_numbers()))
        return scalars

    return take


def parts_of_batches(batches: Iterable[Batch], replicas: Replicas) -> Iterator[Parts]:
    """The parts of each batch for the replicas of this process, from one part after the other."""
    rest = iter(batches)
    while parts := list(islice(rest, len(replicas.local))):
        yield parts
