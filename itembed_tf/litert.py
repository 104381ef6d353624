"""Inference with a LiteRT file of one input and one output, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from itembed_tf.quiet import silent_stderr

LiteRTFunction: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float32]]


def litert_function(content: bytes) -> LiteRTFunction:
    """A function from an input without its batch dimension to the output without it, on one thread.

    It is not thread-safe: each thread takes one of its own, or a lock.

    Args:
        content: of a .tflite file with a batch of one.
    """
    from ai_edge_litert.interpreter import Interpreter  # takes 0.1 s

    with silent_stderr():  # the name of its delegate
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    # By index and not by signature: LiteRT's signature runner copies every tensor twice.
    x, y = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(one: NDArray[Any]) -> NDArray[np.float32]:
        interpreter.set_tensor(x, one[None])
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(y)[0])

    return run
