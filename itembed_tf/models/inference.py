"""Batched inference: a model compiled once for batches of any size, and arrays passed through it batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.models.per_model import once_per_model

InferenceFunction = Callable[..., tf.Tensor]


@once_per_model
def inference_function(model: keras.Model, *, any_length: bool = False) -> InferenceFunction:
    """Compile the forward pass of a model with one input, in inference mode, for batches of any size.

    The function is traced here, once for a model: that takes seconds for a large one. It can be called in other graphs.
    It reads the model's variables at every call, so it follows further training. With `any_length`, of a text encoder,
    ids [B, n] may be shorter than the model's input [B, L], as `predict_texts` gives them.
    """
    signature = tf.TensorSpec((None, *((None,) if any_length else model.input.shape[1:])), model.input.dtype)
    forward = tf.function(lambda x: model(x, training=False), input_signature=[signature], autograph=False)
    with tf.init_scope():  # also where a graph that calls it is being traced
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


def predict_texts(
    function: InferenceFunction, ids: np.ndarray, batch_size: int, trailing_padding: int | None
) -> np.ndarray:
    """Pass left-aligned ids [n, L] through an inference function of any length, texts of similar lengths together.

    Args:
        function: of `inference_function` with `any_length`.
        ids: int32, 0 = padding.
        batch_size: texts a batch.
        trailing_padding: as `without_padding` takes it.

    Returns:
        The outputs in the order of `ids`, float32 [n, D].
    """
    order = np.argsort(np.count_nonzero(ids, axis=1), kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(ids), batch_size)]
    outputs = [function(tf.constant(without_padding(ids[rows], trailing_padding))).numpy() for rows in batches]
    return np.concatenate(outputs)[np.argsort(order)]


def without_padding(ids: np.ndarray, trailing_padding: int | None) -> np.ndarray:
    """Left-aligned ids [n, L] without the padding that changes no embedding of these texts.

    Args:
        ids: int32, 0 = padding.
        trailing_padding: padding that must follow the words of a text
            (`itembed_tf.config.text_variants.trailing_padding`); None for all of it.
    """
    if trailing_padding is None:
        return ids
    return ids[:, : np.count_nonzero(ids, axis=1).max(initial=0) + trailing_padding]
