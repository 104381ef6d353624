"""A signature of a SavedModel with its variables as constants: TensorFlow then folds what it can, and runs less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

_BRANCHES = {"Case", "If", "StatelessCase", "StatelessIf", "StatelessWhile", "While"}


def frozen(signature: Any) -> Callable[..., dict[str, tf.Tensor]]:
    """The same function of the same keyword arguments, a tensor an input, and the same outputs by name.

    The weights are then held twice, by the SavedModel and by the graph. Keep the SavedModel: its tables are used on.
    A graph with loops or conditions, as a picture's, is given back as it is: its bodies would be registered under fixed
    names ("while_cond_function"), and another version of the same model could then not be loaded beside it.
    """
    graph = signature.graph.as_graph_def()
    bodies = (node for function in graph.library.function for node in function.node_def)
    if any(node.op in _BRANCHES for nodes in (graph.node, bodies) for node in nodes):
        return signature
    constant = convert_variables_to_constants_v2(signature, lower_control_flow=False)
    # What is captured and is no variable, a vocabulary's table say, has become an argument.
    tables = {inside.op.name: table for table, inside in signature.graph.captures}
    order, names = [tensor.op.name for tensor in constant.inputs], sorted(signature.structured_outputs)

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        # Not constant(**inputs): that tries another form of call first, and its failure costs 0.2 ms.
        given = inputs | tables
        return dict(zip(names, constant._call_flat([given[name] for name in order], []), strict=True))

    return call
