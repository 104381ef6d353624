"""Batch norms of a model whose batches are shared by replicas: their statistics are those of the whole batch."""

from __future__ import annotations

import keras


def synchronise_batch_norms(model: keras.Model) -> None:
    """Let the batch norms of a model use the statistics of all replicas, in steps that are traced afterwards."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
