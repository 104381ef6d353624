"""Weight imprinting: class weights from the features of the class's images."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from itembed_tf.models.dual_path import parts

ROUNDING = 1e-4  # norm of a feature; batch normalisation of equal images leaves less


def imprint(model: keras.Model, features: np.ndarray, labels: np.ndarray, *, batch_size: int = 1024) -> None:
    """Weight imprinting: set each class weight to the mean unit feature of the class's images behind the image head.

    The text tower then learns meaningful codes from the first step on; a random classifier makes it memorise arbitrary
    ones (docs/small_data.md). The head runs with batch statistics, as its moving averages are still at their start.

    Args:
        model: the dual-path model.
        features: output of the backbone, [n, F].
        labels: class of each row, [n].
        batch_size: approximate number of images in a batch. All batches are of about equal size, as a batch of one or
            two images has no useful statistics.

    Raises:
        ValueError: a class has no image, or batch normalisation makes its images zero.
    """
    classifier = model.get_layer("classifier")
    total = _unit_sums(model, features, labels, classifier.classes, batch_size, training=True)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    if empty := sorted(set(range(len(total))) - set(labels.tolist())):
        raise ValueError(f"classes without an image to imprint: {empty[:10]}")
    if not (length > 0).all():
        raise ValueError(
            f"the features of {int((length == 0).sum())} of {len(total)} classes are zero after batch normalisation, "
            "which compares the training images with each other: are they all the same image? Add images that differ"
        )
    total /= length  # in place: a million classes are 8 GB
    classifier.assign_classes(total)


def imprint_new(
    model: keras.Model, features: np.ndarray, labels: np.ndarray, new: np.ndarray, *, batch_size: int = 1024
) -> None:
    """Imprint new classes of a trained model, with the statistics of its batch norms; the other classes stay.

    A row gets the mean length of the rows of the other classes, or length 1 where all are new.

    Args:
        model: the dual-path model.
        features, labels: as for `imprint`.
        new: whether each class is new, bool [C].
    """
    classifier = model.get_layer("classifier")
    number = np.cumsum(new) - 1  # of each new class among the new ones
    own = new[labels]
    total = _unit_sums(model, features[own], number[labels[own]], int(new.sum()), batch_size, training=False)
    weights = classifier.in_class_order()["class_weights"]
    length = np.linalg.norm(weights[~new], axis=1).mean() if not new.all() else 1.0
    weights[new] = length * total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), ROUNDING)
    classifier.assign_classes(weights)


def _unit_sums(
    model: keras.Model, features: np.ndarray, labels: np.ndarray, classes: int, batch_size: int, *, training: bool
) -> np.ndarray:
    """The sum over the images of each class of the unit-length outputs of the image head, [classes, D]."""
    head = parts(model)["image_head"]
    has_relu = any(layer.name == "embedding_relu" for layer in model.layers)
    total = np.zeros((classes, head.output.shape[-1]), np.float32)
    for rows in np.array_split(np.arange(len(labels)), max(-(-len(labels) // batch_size), 1)):
        f = ops.cast(head(ops.convert_to_tensor(features[rows]), training=training), "float32")
        f = ops.relu(f) if has_relu else f
        unit = ops.normalize(f) * ops.cast(ops.norm(f, axis=1, keepdims=True) > ROUNDING, "float32")
        np.add.at(total, labels[rows], ops.convert_to_numpy(unit))
    return total
