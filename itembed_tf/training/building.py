"""The dtype policy and the seed of layers that are being made."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def building(precision: str, seed: int) -> Iterator[None]:
    """Layers made in the block have the dtype policy `precision`, and initial weights that depend on `seed` alone.

    Keras draws the seeds of initialisers and dropout layers from Python's `random`; its state and the policy are
    restored afterwards.
    """
    state, policy = random.getstate(), keras.config.dtype_policy()
    random.seed(seed)
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        random.setstate(state)
        keras.config.set_dtype_policy(policy)
