"""Freezing: a SavedModel signature with its variables as constants, which TensorFlow's optimiser can then fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

_CONTROL_FLOW = {"Case", "If", "StatelessCase", "StatelessIf", "StatelessWhile", "While"}


def freeze_signature(signature: Any) -> Callable[..., dict[str, tf.Tensor]]:
    """Freeze a signature; the result takes the same keyword arguments and returns the same outputs by name.

    The SavedModel must be kept: the frozen graph uses its lookup tables. Both hold the weights, so they are in memory
    twice.

    A signature with control flow, such as an image encoder's, is returned unchanged: freezing registers its loop bodies
    under fixed names ("while_cond_function"), and a second version of the same model could not be loaded.

    `convert_variables_to_constants_v2` has no public name; TensorFlow's own converters import it from here too.
    """
    graph = signature.graph.as_graph_def()
    bodies = (node for function in graph.library.function for node in function.node_def)
    if any(node.op in _CONTROL_FLOW for nodes in (graph.node, bodies) for node in nodes):
        return signature
    frozen = convert_variables_to_constants_v2(signature, lower_control_flow=False)
    # Captured tensors that are not variables, such as the vocabulary's lookup table, have become arguments.
    tables = {inside.op.name: table for table, inside in signature.graph.captures}
    order, names = [tensor.op.name for tensor in frozen.inputs], sorted(signature.structured_outputs)

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        # `_call_flat` is private. Every public way to call the graph (positional, by keyword, imported into a
        # tf.function) binds the arguments to a signature first, and takes 0.15 to 0.4 ms more per batch: a quarter of
        # a small text encoder's time. tests/server/test_frozen_graph.py fails where a TensorFlow release lacks it.
        arguments = inputs | tables
        return dict(zip(names, frozen._call_flat([arguments[name] for name in order], []), strict=True))

    return call
