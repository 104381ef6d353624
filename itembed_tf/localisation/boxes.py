"""Boxes in pixels: left, top, right, bottom, counted from 0, the last row and column inside (NumPy)."""

from __future__ import annotations

import numpy as np


def enclosing(boxes: np.ndarray) -> np.ndarray:
    """The smallest box [4] around boxes [n, 4], n > 0: the ground truth of a phrase with several boxes."""
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def areas(boxes: np.ndarray) -> np.ndarray:
    """Pixels of each box: [n, 4] -> [n]. A box from 3 to 3 is one pixel wide."""
    return np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of all pairs: [n, 4] and [m, 4] -> float64 [n, m]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low + 1, 0), axis=2).astype(np.float64)
    return shared / (areas(boxes)[:, None] + areas(others)[None] - shared)


def tidy(boxes: np.ndarray, width: int, height: int, most: int) -> np.ndarray:
    """Proposals [n, 4], best first -> int32 [<= most, 4]: cut to the picture, empty and repeated ones gone."""
    cut = np.asarray(boxes, np.int64).reshape(-1, 4)
    cut = np.concatenate([np.maximum(cut[:, :2], 0), np.minimum(cut[:, 2:], (width - 1, height - 1))], axis=1)
    cut = cut[(cut[:, 0] <= cut[:, 2]) & (cut[:, 1] <= cut[:, 3])]
    _, first = np.unique(cut, axis=0, return_index=True)
    return cut[np.sort(first)[:most]].astype(np.int32)


def box_features(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Where a box lies: [n, 4] -> float32 [n, 5], corners over the picture's size and the share of its area (CITE)."""
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] + 1], axis=1) / (width, height, width, height)
    return np.concatenate([corners, areas(boxes)[:, None] / (width * height)], axis=1).astype(np.float32)
