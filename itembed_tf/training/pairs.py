"""All pairs of a batch: their cosines and distances, which are of one group, and the hardest violations of a margin."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any  # a tensor of the backend, or what converts to one

NEVER_ZERO = 1e-4  # added to squared distances (two-branch code): the root has a slope everywhere


def checked(image: Tensor, text: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both sides as float32, after their shapes, as far as known while tracing, were compared."""
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
    """Cosine of each row of one side with the same row of the other: [B]."""
    return ops.sum(left * right, axis=-1)


def of_one_group(labels: Tensor) -> Tensor:
    """Which pairs of rows have one label: bool [B, B]."""
    return ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(labels, 0))


def distance(cosine: Tensor) -> Tensor:
    """Euclidean distance of rows of unit length from their cosine: sqrt(2 - 2 cos + 1e-4)."""
    return ops.sqrt(ops.relu(2.0 - 2.0 * cosine) + NEVER_ZERO)  # relu: rounding makes some squares negative


def distances(left: Tensor, right: Tensor) -> Tensor:
    """Distances of all rows of one side (down) and the other: [B, B]."""
    return distance(ops.matmul(left, ops.transpose(right)))


def first_of_copies(image: Tensor, labels: Tensor) -> Tensor:
    """False for a row that is the one above once more: a picture with k sentences stands in k rows. bool [B]."""
    same = ops.all(ops.equal(image[1:], image[:-1]), axis=1)
    again = ops.logical_and(same, ops.equal(labels[1:], labels[:-1]))
    return ops.concatenate([ops.ones_like(labels[:1], dtype="bool"), ops.logical_not(again)])


def hardest_violations(violations: Tensor, negative: Tensor, top: int) -> Tensor:
    """Mean over anchors of the mean of their `top` largest hinges, of all with 0; those that are 0 count.

    An anchor with fewer than `top` negatives is the mean over those that it has, one without any is 0.

    Args:
        violations: [B, B], anchors down; a hinge where positive.
        negative: bool [B, B], which pairs count.
        top: hinges kept an anchor.
    """
    hinges = ops.where(negative, ops.relu(violations), 0.0)
    counts = ops.sum(ops.cast(negative, "float32"), axis=1)
    if top:
        columns = ops.shape(hinges)[1]
        most = min(top, columns) if isinstance(columns, int) else ops.minimum(top, columns)
        hinges, counts = ops.top_k(hinges, most, sorted=False)[0], ops.minimum(counts, float(top))
    return ops.mean(ops.sum(hinges, axis=1) / ops.maximum(counts, 1.0))
