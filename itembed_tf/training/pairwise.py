"""Pairwise cosines and distances of a batch, masks of pairs of one class, and the hardest violations of a margin."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any  # a tensor of the backend, or what converts to one

EPSILON = 1e-4  # added to squared distances (two-branch code), so that the square root has a gradient everywhere


def checked(image: Tensor, text: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both sides as float32 and the labels, after a check of the shapes as far as they are known while tracing."""
    image, text, labels = ops.convert_to_tensor(image), ops.convert_to_tensor(text), ops.convert_to_tensor(labels)
    if len(image.shape) != 2 or len(text.shape) != 2 or len(labels.shape) != 1:
        raise ValueError(
            "a loss takes image [B, D], text [B, D] and labels [B]; "
            f"their shapes are {tuple(image.shape)}, {tuple(text.shape)} and {tuple(labels.shape)}"
        )
    for dimension, sizes in (
        ("B (rows)", (image.shape[0], text.shape[0], labels.shape[0])),
        ("D (columns)", (image.shape[1], text.shape[1])),
    ):
        if len({size for size in sizes if size is not None}) > 1:
            raise ValueError(f"image, text and labels must agree in {dimension}, which is {', '.join(map(str, sizes))}")
    return ops.cast(image, "float32"), ops.cast(text, "float32"), labels


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of matching rows, of unit length: [B]."""
    return ops.sum(left * right, axis=-1)


def same_class(labels: Tensor) -> Tensor:
    """Mask of the pairs of rows with the same label: bool [B, B]."""
    return ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(labels, 0))


def distance(cosine: Tensor) -> Tensor:
    """Euclidean distance of rows of unit length from their cosine: sqrt(2 - 2 cos + 1e-4)."""
    return ops.sqrt(ops.relu(2.0 - 2.0 * cosine) + EPSILON)  # relu: rounding makes some squares negative


def distances(left: Tensor, right: Tensor) -> Tensor:
    """Euclidean distances of all rows of `left` (down) and of `right` (across): [B, B]."""
    return distance(ops.matmul(left, ops.transpose(right)))


def first_of_copies(image: Tensor, labels: Tensor) -> Tensor:
    """False for a row equal to the one above it (an image with k captions is repeated in k rows): bool [B]."""
    same = ops.all(ops.equal(image[1:], image[:-1]), axis=1)
    again = ops.logical_and(same, ops.equal(labels[1:], labels[:-1]))
    return ops.concatenate([ops.ones_like(labels[:1], dtype="bool"), ops.logical_not(again)])


def hardest_violations(violations: Tensor, negative: Tensor, top: int) -> Tensor:
    """Mean over anchors of the mean of their `top` largest hinges (0: all), zero hinges included.

    For an anchor with fewer than `top` negatives it is the mean over those; for one without negatives it is 0.

    Args:
        violations: [B, B], anchors down; hinges are their positive parts.
        negative: bool [B, B], mask of the pairs that count.
        top: number of hinges per anchor.
    """
    hinges = ops.where(negative, ops.relu(violations), 0.0)
    counts = ops.sum(ops.cast(negative, "float32"), axis=1)
    if top:
        columns = ops.shape(hinges)[1]
        most = min(top, columns) if isinstance(columns, int) else ops.minimum(top, columns)
        hinges, counts = ops.top_k(hinges, most, sorted=False)[0], ops.minimum(counts, float(top))
    return ops.mean(ops.sum(hinges, axis=1) / ops.maximum(counts, 1.0))
