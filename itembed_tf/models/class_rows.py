"""Variables with one row for each class whose rows are shared out over the replicas of a distributed training.

Replica r of R has the classes r*n to r*n + n - 1, n = ceil(C / R); rows behind the last class are zero. A variable of
this kind has the number of classes C as its attribute ``sharded_classes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from itembed_tf.models.replicas import components


def sharded_classes(variable: Any) -> int:
    """The number of classes C of a variable of this kind; 0 of any other."""
    return getattr(variable, "sharded_classes", 0)


def assign_share(variable: Any, values: np.ndarray, local: Sequence[int], start: int = 0) -> None:
    """Set the rows of the replicas of this process from values in class order.

    Args:
        variable: of this kind.
        values: of the classes from `start` on, [m, ...].
        local: numbers of the replicas of this process.
        start: first class.
    """
    rows = variable.shape[0]
    for number, component in zip(local, components(variable), strict=True):
        first, end = max(start, number * rows), min(start + len(values), number * rows + rows)
        if first < end:
            own = slice(first - number * rows, end - number * rows)
            component[own].assign(values[first - start : end - start])


def local_rows(variable: Any) -> np.ndarray:
    """The rows of the replicas of this process, in class order, those behind the last class included."""
    return np.concatenate([np.asarray(component.read_value()) for component in components(variable)])
