"""Gradients of a batch that is passed in parts: losses of the whole batch, activations of one part at a time.

Gradient caching (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
arXiv:2101.06983). Summing the gradients of the losses of the parts would be wrong here: a loss on pairs has the other
pairs of the batch as negatives, and those of other parts would be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

Tensors = dict[str, tf.Tensor]
Objective = Callable[[Tensors], tuple[tf.Tensor, Any]]


def gradients_in_parts(
    network: keras.Model, batch: Tensors, variables: Sequence[keras.Variable], objective: Objective, parts: int
) -> tuple[Tensors, Any, list[Any]]:
    """The gradients of an objective on the whole batch, with the network's activations of one part at a time.

    With more than one part, each is passed through the network twice: once for its outputs alone, and again, with the
    same dropout masks, to propagate the gradients of the objective with respect to these outputs. Batch norms have the
    statistics of a part, and their moving averages are updated once for each part.

    Args:
        network: a dual-path model.
        batch: its inputs, of B images; captions have k*B rows, row j*B + i the j-th of image i.
        variables: to take the gradients of.
        objective: from the outputs of the whole batch to a scalar and anything else.
        parts: number of parts, a divisor of B.

    Returns:
        The outputs, what else the objective gave, and the gradients in the order of `variables`; None where there is
        none. That of drawn class rows is sparse.

    Raises:
        ValueError: B is not a multiple of `parts`.
    """
    if parts == 1:
        with tf.GradientTape() as tape:
            whole = network(batch, training=True)
            scalar, rest = objective(whole)
        return whole, rest, tape.gradient(scalar, variables)
    images = next(rows.shape[0] for name, rows in batch.items() if name.startswith("image"))
    if images % parts:
        raise ValueError(
            f"a batch of {images} images cannot be passed in {parts} equal parts: set accumulate to a divisor of it"
        )
    pieces = _split(batch, images, parts)
    masks = [v for v in network.non_trainable_variables if v.name == "seed_generator_state"]  # of dropout
    before, outputs = [], []
    for piece in pieces:
        before.append([tf.identity(mask.value) for mask in masks])
        outputs.append(network(piece, training=True))
    after = [tf.identity(variable.value) for variable in network.non_trainable_variables]
    whole = _joined(outputs, images // parts)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(whole)
        scalar, rest = objective(whole)
    of_outputs = {name: grad for name, grad in tape.gradient(scalar, whole).items() if grad is not None}
    drawn = {id(v) for v in network.get_layer("classifier").variables} if "drawn" in batch else set()
    gradients: list[Any] = [None] * len(variables)
    for piece, of_piece, states in zip(pieces, _split(of_outputs, images, parts), before, strict=True):
        for mask, state in zip(masks, states, strict=True):
            mask.assign(state)
        with tf.GradientTape() as tape:
            again = network(piece, training=True)
        found = tape.gradient([again[name] for name in of_piece], variables, output_gradients=list(of_piece.values()))
        found = [g if id(v) in drawn else _dense(g) for g, v in zip(found, variables, strict=True)]
        gradients = [_sum(one, other) for one, other in zip(gradients, found, strict=True)]
    for variable, value in zip(network.non_trainable_variables, after, strict=True):
        variable.assign(value)  # the second pass has updated the moving averages again
    return whole, rest, gradients


def _split(rows_of: Tensors, images: int, parts: int) -> list[Tensors]:
    """The rows of each part, of tensors [k*B, ...]: as many images, with their captions. "drawn" is that of all."""

    def part(name: str, rows: tf.Tensor, number: int) -> tf.Tensor:
        if name == "drawn":
            return rows
        inner = _inner(rows)
        blocks = tf.reshape(rows, [rows.shape[0] // images, parts, images // parts, *inner])
        return tf.reshape(blocks[:, number], [rows.shape[0] // parts, *inner])

    return [{name: part(name, rows, number) for name, rows in rows_of.items()} for number in range(parts)]


def _joined(outputs: Sequence[Tensors], images: int) -> Tensors:
    """The rows of all parts in the order of the batch: the inverse of `_split`, for parts of so many images."""

    def join(rows: Sequence[tf.Tensor]) -> tf.Tensor:
        count, inner = rows[0].shape[0], _inner(rows[0])
        blocks = tf.stack([tf.reshape(each, [count // images, images, *inner]) for each in rows], axis=1)
        return tf.reshape(blocks, [len(rows) * count, *inner])

    return {name: join([output[name] for output in outputs]) for name in outputs[0]}


def _inner(rows: tf.Tensor) -> list[Any]:
    """The shape of a row. The number of drawn classes is known in the step alone."""
    sizes = tf.shape(rows)
    return [sizes[axis] if size is None else size for axis, size in enumerate(rows.shape)][1:]


def _dense(gradient: Any) -> Any:
    """A gradient as a dense array: that of the word table has a row for each word of a part."""
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def _sum(one: Any, other: Any) -> Any:
    """The sum of two gradients of a variable. Sparse ones have the rows of the drawn classes, the same in all parts."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, tf.IndexedSlices):
        return tf.IndexedSlices(one.values + other.values, one.indices, one.dense_shape)
    return one + other
