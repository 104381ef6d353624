"""What a batch of embeddings is trained on: the instance loss and five losses between pictures and sentences.

Every loss of ``LOSSES`` has one signature: ``f(image [B, D], text [B, D], labels int [B], *, margin, temperature)``
gives a float32 scalar. Rows have unit length, so products of rows are cosines; row i of both sides belongs together,
and ``labels`` names the group of each row. Rows of one group off the diagonal are no negatives: they are masked.
Whatever dtype comes in, sums and exponentials are float32. All runs eagerly, in ``tf.function`` and under XLA.

All divide by the number of anchors. An anchor whose negatives are all masked adds 0 and is still counted, so that who
else is in the batch does not change the weight of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

Tensor = Any  # a tensor of the backend, or what converts to one

NEVER = -1e9  # logit of a masked pair: exp() of it is 0 in float32, and being finite it cannot give inf - inf


def instance_loss(logits: Tensor, labels: Tensor, *, label_smoothing: float) -> Tensor:
    """Cross-entropy over all groups of the data set, each group a class (paper, eq. 5-8), as the mean over the batch.

    Args:
        logits: [B, C], any float dtype.
        labels: int [B], 0 <= label < C.
        label_smoothing: e, 0 <= e < 1: the target is 1 - e on the label plus e / C on every class. Both the paper and
            the released code use 0.

    Returns:
        Scalar float32.

    Raises:
        ValueError: `label_smoothing` outside [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be at least 0 and less than 1, and is {label_smoothing}")
    logits = ops.cast(logits, "float32")
    losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if label_smoothing > 0:
        against_uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * against_uniform
    return ops.mean(losses)


def ranking_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, temperature: float) -> Tensor:
    """Hinges with one negative an anchor and a direction (paper, eq. 9; released code).

    Of a batch of 2h rows the first h are anchors; the negatives of anchor i are text i+h for the picture and image i+h
    for the sentence. The loss is the mean over the h anchors of the sum of both hinges. The released code sums over the
    anchors, weighs by 2 and divides by the whole batch of 2h: the same number, so its weight 2 is our weight 1 (the
    paper's lambda_1 = 1). The last row of an odd batch is not used. An anchor whose negative is of its own group adds
    0 and is counted; a batch of one row gives 0.

    Args:
        image, text, labels: as the module says. With mined sentences in rows h to 2h, `labels` are those of the images.
        margin: a; 1 in paper and released code.
        temperature: not used.
    """
    image, text, labels = _checked(image, text, labels)
    half = ops.shape(image)[0] // 2
    pictures, sentences = image[:half], text[:half]
    matching = _cosines(pictures, sentences)
    hinges = ops.relu(margin - matching + _cosines(pictures, text[half : 2 * half]))
    hinges += ops.relu(margin - matching + _cosines(sentences, image[half : 2 * half]))
    negative = ops.not_equal(labels[:half], labels[half : 2 * half])
    return ops.sum(ops.where(negative, hinges, 0.0)) / ops.cast(ops.maximum(half, 1), "float32")


def ranking_sum_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, temperature: float) -> Tensor:
    """Hinges with all negatives of the batch: mean over anchors of their sum, both directions added.

    `margin` is that of the hinge; `temperature` is not used.
    """
    for_images, for_texts, count = _hinges(image, text, labels, margin)
    return (ops.sum(for_images) + ops.sum(for_texts)) / count


def ranking_max_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, temperature: float) -> Tensor:
    """Hinges with the hardest negative of the batch (VSE++): mean over anchors, both directions added.

    VSE++ itself sums over the batch; we divide by it. `margin` is that of the hinge; `temperature` is not used.
    """
    for_images, for_texts, count = _hinges(image, text, labels, margin)
    return (ops.sum(ops.max(for_images, axis=1)) + ops.sum(ops.max(for_texts, axis=0))) / count


def infonce_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, temperature: float) -> Tensor:
    """Softmax over the batch with the matching row as the class: mean over anchors, then mean of both directions.

    Rows of the anchor's own group are left out of the denominator. `temperature` divides the cosines; `margin` is not
    used.
    """
    scores, same, diagonal = _scores(image, text, labels)
    logits = ops.where(ops.logical_and(same, ops.logical_not(diagonal)), NEVER, scores / _positive(temperature))
    matching = ops.sum(ops.where(diagonal, logits, 0.0), axis=1)
    denominators = (ops.logsumexp(logits, axis=1) + ops.logsumexp(logits, axis=0)) / 2
    return ops.mean(denominators - matching)


def sigmoid_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, temperature: float) -> Tensor:
    """Every pair of the batch as a yes-or-no question (SigLIP): logits (cosine - margin) / temperature.

    Pairs of one group are positives, on the diagonal and off it; the sum over all pairs is divided by B, as in SigLIP.
    (Its scale and bias are 1 / temperature and -margin / temperature.) Without negatives the positives' terms remain.
    """
    scores, same, _ = _scores(image, text, labels)
    logits = (scores - margin) / _positive(temperature)
    return ops.sum(ops.softplus(ops.where(same, -logits, logits))) / _rows(scores)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "ranking": ranking_loss,
    "ranking_sum": ranking_sum_loss,
    "ranking_max": ranking_max_loss,
    "infonce": infonce_loss,
    "sigmoid": sigmoid_loss,
}


def hardest_candidate(image: Tensor, candidates: Tensor, candidate_labels: Tensor, labels: Tensor) -> Tensor:
    """For each picture the most similar sentence of another group: the released code's mining of negatives.

    That code embeds 256 random sentences in test mode, groups of the batch left out; both are the caller's part.

    Args:
        image: [n, D], unit length.
        candidates: [m, D], embedded sentences, unit length.
        candidate_labels: int [m].
        labels: int [n], of the pictures.

    Returns:
        int32 [n], rows of `candidates`; the lower row of equals. Where every candidate is of the picture's own group it
        is row 0: compare ``candidate_labels`` there if that can happen.
    """
    scores = ops.matmul(ops.cast(image, "float32"), ops.transpose(ops.cast(candidates, "float32")))
    same = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(candidate_labels, 0))
    return ops.cast(ops.argmax(ops.where(same, NEVER, scores), axis=1), "int32")


def _checked(image: Tensor, text: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of each row of one side with the same row of the other: [B]."""
    return ops.sum(left * right, axis=-1)


def _scores(image: Tensor, text: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of all pairs (pictures down, sentences across), which are of one group, and which are the diagonal."""
    image, text, labels = _checked(image, text, labels)
    scores = ops.matmul(image, ops.transpose(text))
    same = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(labels, 0))
    rows = ops.arange(ops.shape(scores)[0])
    return scores, same, ops.equal(ops.expand_dims(rows, 1), ops.expand_dims(rows, 0))


def _hinges(image: Tensor, text: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Hinge of every pair with the picture as anchor, and with the sentence as anchor, both [B, B]; and B."""
    scores, same, diagonal = _scores(image, text, labels)
    matching = ops.sum(ops.where(diagonal, scores, 0.0), axis=1)
    for_images = ops.relu(margin - ops.expand_dims(matching, 1) + scores)
    for_texts = ops.relu(margin - ops.expand_dims(matching, 0) + scores)
    return ops.where(same, 0.0, for_images), ops.where(same, 0.0, for_texts), _rows(scores)


def _rows(scores: Tensor) -> Tensor:
    return ops.cast(ops.shape(scores)[0], "float32")


def _positive(temperature: float) -> float:
    if isinstance(temperature, (int, float)) and temperature <= 0:
        raise ValueError(f"temperature must be more than 0, and is {temperature}; 0.05 is a common value")
    return temperature
