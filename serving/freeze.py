"""A signature of a SavedModel with its variables as constants: TensorFlow then folds what it can, and runs less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def frozen(signature: Any) -> Callable[..., dict[str, tf.Tensor]]:
    """The same function of the same keyword arguments, a tensor an input, and the same outputs by name.

    The weights are then held twice, by the SavedModel and by the graph. Keep the SavedModel: its tables are used on.
    """
    constant = convert_variables_to_constants_v2(signature, lower_control_flow=False)
    wanted = {tensor.op.name for tensor in constant.inputs}
    # What is captured and is no variable, a vocabulary's table say, has become an argument.
    tables = {inside.op.name: table for table, inside in signature.graph.captures if inside.op.name in wanted}
    names = sorted(signature.structured_outputs)

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(names, constant(**inputs, **tables), strict=True))

    return call
