"""Batched inference of texts: the order of the inputs, and how much padding is computed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from itembed_tf.models.inference import inference_function, predict_texts

IDS = np.array([[1, 2, 3, 4, 0, 0], [5, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6], [7, 8, 0, 0, 0, 0]])


@pytest.mark.parametrize("padding, lengths", [(1, [5, 2, 2, 6, 5]), (None, [6, 6, 6, 6, 6])], ids=["needed", "all"])
def test_texts_keep_their_order_and_are_computed_with_others_of_their_length(
    padding: int | None, lengths: list[int]
) -> None:
    """The model gives the sum of the ids, and how many it was given; batches of two: 0 + 1, 2 + 4 and 6 words."""
    ids = keras.Input((6,), dtype="int32")
    values = ops.cast(ids, "float32")
    counts = [ops.sum(values, axis=1, keepdims=True), ops.sum(ops.ones_like(values), axis=1, keepdims=True)]
    function = inference_function(keras.Model(ids, ops.concatenate(counts, axis=1)), any_length=True)
    found = predict_texts(function, IDS.astype(np.int32), 2, padding)
    assert found[:, 0].tolist() == [10, 5, 0, 21, 15]
    assert found[:, 1].tolist() == lengths
