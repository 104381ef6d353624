"""Features of several backbones side by side, read from their memory-mapped files when rows are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class JoinedFeatures:
    """Feature arrays [n, F1], [n, F2], ... as one [n, F1 + F2 + ...] of which only the rows that are used are read."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = arrays
        self.shape = (len(arrays[0]), sum(array.shape[1] for array in arrays))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.concatenate([array[rows] for array in self._arrays], axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


Features = np.ndarray | JoinedFeatures
