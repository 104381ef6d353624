"""Values of variables between checkpoints, which hold them whole and in class order, and all workers of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from itembed_tf.models.class_rows import assign_share, local_rows, sharded_classes
from itembed_tf.models.replicas import components
from itembed_tf.training.distribution import Replicas

CHUNK = 64 << 20  # bytes of shared-out rows that are exchanged at once


def full_shape(variable: Any) -> tuple[int, ...]:
    """Shape of a variable; of one with shared-out rows that of all classes."""
    classes = sharded_classes(variable)
    return (classes, *variable.shape[1:]) if classes else tuple(variable.shape)


def full_value(variable: Any, replicas: Replicas) -> np.ndarray:
    """The value of a variable, of one with shared-out rows that of all classes in class order. It is not to be changed.

    On a CPU it is not copied: it is the memory of the variable, which takes new memory with its next value. A million
    classes and their moments would be copied with every checkpoint.

    All workers must call it for the latter; only the chief's result is whole.
    """
    classes = sharded_classes(variable)
    if not classes:
        return np.asarray(tf.convert_to_tensor(variable))
    if replicas.workers == 1:
        return local_rows(variable)[:classes]
    assert replicas.strategy is not None
    shares = [np.asarray(component.read_value()) for component in components(variable)]
    rows = len(shares[0])
    whole = np.zeros((replicas.count, rows, *shares[0].shape[1:]) if replicas.is_chief else (0,), shares[0].dtype)
    for part in _chunks(rows, shares[0][:1].nbytes * replicas.count):
        own = replicas.per_replica([tf.constant(share[part][None]) for share in shares])
        with replicas.losses_named():
            found = replicas.strategy.gather(own, axis=0)
        if replicas.is_chief:
            whole[:, part] = found.numpy()
    return whole.reshape(-1, *whole.shape[2:])[:classes] if replicas.is_chief else whole


def set_variables(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], replicas: Replicas) -> None:
    """Set variables on all workers to the chief's arrays; those of the other workers are not used."""
    for name, variable in variables.items():
        array = arrays.get(name) if replicas.is_chief else None
        if not sharded_classes(variable):
            value = _of_chief(array, tuple(variable.shape), variable, replicas)
            for component in components(variable):
                component.assign(value)
            continue
        shape = full_shape(variable)
        for part in _chunks(shape[0], int(np.prod(shape[1:], dtype=np.int64)) * 4):
            chosen = None if array is None else array[part]
            values = _of_chief(chosen, (part.stop - part.start, *shape[1:]), variable, replicas)
            assign_share(variable, values, replicas.local, part.start)


def share_weights(model: keras.Model, variables: Mapping[str, Any], replicas: Replicas) -> None:
    """Set the variables of the model on all workers to the chief's."""
    if replicas.workers == 1:
        return
    classifier = next((layer for layer in model.layers if layer.name == "classifier"), None)
    whole = classifier.in_class_order() if classifier is not None and classifier.shards > 1 else {}
    arrays = {}
    for name, variable in variables.items() if replicas.is_chief else ():
        arrays[name] = whole[variable.name] if sharded_classes(variable) else full_value(variable, replicas)
    set_variables(variables, arrays, replicas)
    if classifier is not None:
        classifier.assigned.clear()


def _of_chief(array: np.ndarray | None, shape: tuple[int, ...], variable: Any, replicas: Replicas) -> np.ndarray:
    dtype = tf.as_dtype(variable.dtype).as_numpy_dtype
    value = np.zeros(shape, dtype) if array is None else np.asarray(array, dtype)
    return replicas.sum_of_workers(value)


def _chunks(rows: int, row_bytes: int) -> Iterator[slice]:
    step = max(CHUNK // max(row_bytes, 1), 1)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
