"""Batched inference: a model compiled once for batches of any size, and arrays passed through it batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

InferenceFunction = Callable[..., tf.Tensor]


def inference_function(model: keras.Model) -> InferenceFunction:
    """Compile the forward pass of a model with one input, in inference mode, for batches of any size.

    The function is traced here, once: TensorFlow warns of retracing when a process builds many such functions.
    It reads the model's variables at every call, so it follows further training.
    """
    signature = tf.TensorSpec((None, *model.input.shape[1:]), model.input.dtype)
    forward = tf.function(lambda x: model(x, training=False), input_signature=[signature], autograph=False)
    return forward.get_concrete_function()


def row_batches(rows: np.ndarray, batch_size: int) -> Iterator[tf.Tensor]:
    """Consecutive batches of an array, the last one possibly smaller."""
    for start in range(0, len(rows), batch_size):
        yield tf.convert_to_tensor(rows[start : start + batch_size])


def predict(
    function: InferenceFunction, rows: np.ndarray, batch_size: int, *, progress: str | None = None
) -> np.ndarray:
    """Pass an array [n, ...] through an inference function batch by batch; `progress` titles a progress bar.

    Returns:
        The outputs in order, float32 [n, D].
    """
    total = -(-len(rows) // batch_size)
    batches = tqdm(row_batches(rows, batch_size), progress, total, leave=False, unit=" batches", disable=not progress)
    return np.concatenate([function(batch).numpy() for batch in batches])
