"""Gradients on their way to the optimiser: sparse ones taken apart, sums over replicas, and loss scaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from itembed_tf.models.class_rows import sharded_classes
from itembed_tf.models.replicas import replica_count, summed


class RowGradients(keras.optimizers.Optimizer):
    """Takes sparse gradients apart, as Keras' norms, loss scale and update rules need dense arrays.

    - Of the classifier: the values, one row for each drawn class, are the gradient, and their row numbers are kept for
      the update. As each class is drawn once, norms and squares of the values are those of the whole gradient.
    - Of the word table: made dense. It has one row for each occurrence of a word, whose norms and squares would not be
      those of the gradient, and its momentum is dense in any case.

    With several replicas it sums the gradients over them, before they are clipped; Keras would do so afterwards. Those
    of a sharded classifier are not summed: each replica has the whole gradient of its rows.
    """

    sums = True  # False inside of `LossScale`, which has summed them

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        optimizer: Any = getattr(self, "inner_optimizer", self)
        variables = optimizer._trainable_variables if trainable_variables is None else trainable_variables
        arrays = [optimizer.array_of(grad, variable) for grad, variable in zip(grads, variables, strict=True)]
        if self.sums and replica_count() > 1:
            arrays = _summed(arrays, variables)
        super().apply(arrays, trainable_variables)


def _summed(arrays: Sequence[Any], variables: Sequence[keras.Variable]) -> list[Any]:
    """Gradients summed over the replicas, but for those of a sharded classifier; None stays None."""
    shared = [
        place
        for place, (array, variable) in enumerate(zip(arrays, variables, strict=True))
        if array is not None and not sharded_classes(variable)
    ]
    found = list(arrays)
    for place, array in zip(shared, summed([arrays[place] for place in shared]), strict=True):
        found[place] = array
    return found


class LossScale(RowGradients, keras.optimizers.LossScaleOptimizer):
    """Dynamic loss scaling of Keras."""

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, **settings: Any) -> None:
        super().__init__(inner_optimizer, **settings)
        inner_optimizer.sums = False
