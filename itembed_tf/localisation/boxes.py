"""Bounding boxes in pixels: left, top, right, bottom, zero-based, right and bottom inclusive (NumPy only)."""

from __future__ import annotations

import numpy as np


def enclosing(boxes: np.ndarray) -> np.ndarray:
    """Union box [4] of boxes [n, 4], n > 0: the ground truth of a phrase with several boxes."""
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def areas(boxes: np.ndarray) -> np.ndarray:
    """Area of each box in pixels: [n, 4] -> [n]. A box from 3 to 3 is one pixel wide."""
    return np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union (IoU) of all pairs: [n, 4] and [m, 4] -> float64 [n, m]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low + 1, 0), axis=2).astype(np.float64)
    return shared / (areas(boxes)[:, None] + areas(others)[None] - shared)


def clean_proposals(boxes: np.ndarray, width: int, height: int, max_boxes: int) -> np.ndarray:
    """Clip proposals [n, 4] to the image, drop empty and duplicate boxes: int32 [<= max_boxes, 4], best first."""
    clipped = np.asarray(boxes, np.int64).reshape(-1, 4)
    clipped = np.concatenate(
        [np.maximum(clipped[:, :2], 0), np.minimum(clipped[:, 2:], (width - 1, height - 1))], axis=1
    )
    clipped = clipped[(clipped[:, 0] <= clipped[:, 2]) & (clipped[:, 1] <= clipped[:, 3])]
    _, first = np.unique(clipped, axis=0, return_index=True)
    return clipped[np.sort(first)[:max_boxes]].astype(np.int32)


def box_features(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Position features (CITE): [n, 4] -> float32 [n, 5], corners relative to the image size and relative area."""
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] + 1], axis=1) / (width, height, width, height)
    return np.concatenate([corners, areas(boxes)[:, None] / (width * height)], axis=1).astype(np.float32)
