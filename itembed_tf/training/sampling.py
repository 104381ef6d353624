"""Sampled softmax: the classes of a training step, where a softmax over all of them is too large."""

from __future__ import annotations

import tensorflow as tf


def draw_classes(kept: tf.Tensor, *, classes: int, count: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw the classes of a step: those of the batch, and each other class with probability count / classes.

    The classes are drawn independently, so that the probability of each one is known exactly; their number varies by
    about the square root of `count`. The cost for all classes is one random number each.

    With the second result in `itembed_tf.training.losses.instance_loss`, the sum of exp(logit) over all classes is
    estimated without bias (Horvitz and Thompson, 1952): this is the log Q correction of sampled softmax (Jean et al.,
    2015, arXiv:1412.2007, section 3.2), with Q = 1 for the classes of the batch, which are always in. Partial FC (An
    et al., arXiv:2203.15565) keeps the same classes and leaves the correction out.

    Args:
        kept: classes of the batch, int32 [n], repetitions allowed.
        classes: number of all classes, C.
        count: expected number of drawn classes; at least C draws all.
        seed: int [2]; the result depends on it alone.

    Returns:
        The classes, int32 [K], ascending, each once; and for each how many classes it stands for, float32 [K]: 1 for
        the classes of the batch, C / count for the others.
    """
    share = min(count / classes, 1.0)
    keys = tf.random.stateless_uniform([classes], seed)  # in [0, 1)
    keys = tf.tensor_scatter_nd_update(keys, kept[:, None], -tf.ones_like(kept, tf.float32))
    drawn = tf.where(keys < share)[:, 0]
    stands_for = tf.where(tf.gather(keys, drawn) < 0, 1.0, 1.0 / share)
    return tf.cast(drawn, tf.int32), stands_for
