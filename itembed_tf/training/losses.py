"""What a batch of embeddings is trained on: the instance loss and nine losses between pictures and sentences.

Every loss of ``LOSSES`` is a function ``f(image [B, D], text [B, D], labels int [B], **parameters)`` of a float32
scalar; its parameters are the fields of its record in `itembed_tf.config.losses`. Rows have unit length, so products of
rows are cosines; row i of both sides belongs together, and ``labels`` names the group of each row. Rows of one group
off the diagonal are no negatives: they are masked. Whatever dtype comes in, sums and exponentials are float32. All runs
eagerly, in ``tf.function`` and under XLA.

All divide by the number of anchors. An anchor whose negatives are all masked adds 0 and is still counted, so that who
else is in the batch does not change the weight of a pair.
"""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from itembed_tf.training.pairs import (
    Tensor,
    checked,
    cosines,
    distance,
    distances,
    first_of_copies,
    hardest_violations,
    of_one_group,
)

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


def ranking_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Hinges with one negative an anchor and a direction (paper, eq. 9; released code).

    Of a batch of 2h rows the first h are anchors; the negatives of anchor i are text i+h for the picture and image i+h
    for the sentence. The loss is the mean over the h anchors of the sum of both hinges. The released code sums over the
    anchors, weighs by 2 and divides by the whole batch of 2h: the same number, so its weight 2 is our weight 1 (the
    paper's lambda_1 = 1). The last row of an odd batch is not used. An anchor whose negative is of its own group adds
    0 and is counted; a batch of one row gives 0.

    Args:
        image, text, labels: as the module says. With mined sentences in rows h to 2h, `labels` are those of the images.
        margin: a; 1 in paper and released code.
    """
    image, text, labels = checked(image, text, labels)
    half = ops.shape(image)[0] // 2
    pictures, sentences = image[:half], text[:half]
    matching = cosines(pictures, sentences)
    hinges = ops.relu(margin - matching + cosines(pictures, text[half : 2 * half]))
    hinges += ops.relu(margin - matching + cosines(sentences, image[half : 2 * half]))
    negative = ops.not_equal(labels[:half], labels[half : 2 * half])
    return ops.sum(ops.where(negative, hinges, 0.0)) / ops.cast(ops.maximum(half, 1), "float32")


def ranking_sum_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Hinges with all negatives of the batch: mean over anchors of their sum, both directions added."""
    for_images, for_texts, count = _hinges(image, text, labels, margin)
    return (ops.sum(for_images) + ops.sum(for_texts)) / count


def ranking_max_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Hinges with the hardest negative of the batch (VSE++): mean over anchors, both directions added.

    VSE++ itself sums over the batch; we divide by it.
    """
    for_images, for_texts, count = _hinges(image, text, labels, margin)
    return (ops.sum(ops.max(for_images, axis=1)) + ops.sum(ops.max(for_texts, axis=0))) / count


def infonce_loss(image: Tensor, text: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Softmax over the batch with the matching row as the class: mean over anchors, then mean of both directions.

    Rows of the anchor's own group are left out of the denominator. `temperature` divides the cosines.
    """
    scores, same, diagonal = _scores(image, text, labels)
    logits = ops.where(ops.logical_and(same, ops.logical_not(diagonal)), NEVER, scores / _positive(temperature))
    matching = ops.sum(ops.where(diagonal, logits, 0.0), axis=1)
    denominators = (ops.logsumexp(logits, axis=1) + ops.logsumexp(logits, axis=0)) / 2
    return ops.mean(denominators - matching)


def sigmoid_loss(image: Tensor, text: Tensor, labels: Tensor, *, temperature: float, margin: float) -> Tensor:
    """Every pair of the batch as a yes-or-no question (SigLIP): logits (cosine - margin) / temperature.

    Pairs of one group are positives, on the diagonal and off it; the sum over all pairs is divided by B, as in SigLIP.
    (Its scale and bias are 1 / temperature and -margin / temperature.) Without negatives the positives' terms remain.
    """
    scores, same, _ = _scores(image, text, labels)
    logits = (scores - margin) / _positive(temperature)
    return ops.sum(ops.softplus(ops.where(same, -logits, logits))) / _rows(scores)


def topk_image_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """Hinges on distances, pictures as anchors: margin + d(picture, its sentence) - d(picture, sentence of another).

    One of the four terms of the two-branch network, which the weights of a stage add up. d is the Euclidean distance
    sqrt(2 - 2 cos + 1e-4). Each anchor keeps its `top` largest hinges (0: all); the term is their mean over anchors,
    hinges of 0 counted. Public code: margin 0.05, top 10, this term once, `topk_text` 1.5 times and `structure_text`
    0.05 times; CVPR 2016: top 50, weights not published. Rows of the anchor's group are masked, where that code takes
    another sentence of the picture, drawn with a pair of its own, for a negative.
    """
    image, text, labels = checked(image, text, labels)
    violations = margin + ops.expand_dims(distance(cosines(image, text)), 1) - distances(image, text)
    return hardest_violations(violations, ops.logical_not(of_one_group(labels)), top)


def topk_text_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """The same with sentences as anchors: margin + d(sentence, its picture) - d(sentence, another picture).

    A picture that stands in several rows is one negative, not several of the `top`.
    """
    image, text, labels = checked(image, text, labels)
    violations = margin + ops.expand_dims(distance(cosines(image, text)), 1) - distances(text, image)
    return hardest_violations(violations, _other_pictures(image, labels), top)


def structure_image_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """Neighbourhoods of pictures: margin + d(picture, farthest of its group) - d(picture, picture of another group).

    As `structure_text_loss`, between pictures. CVPR 2016 means it for groups of several pictures, such as the regions
    that one phrase names; its public code leaves it out. Where a group has one picture in the batch, the farthest is
    that picture itself, at 0.01: the hinges then push apart pictures that are nearer than the margin.
    """
    image, _, labels = checked(image, text, labels)
    violations = _beyond_neighbours(image, labels, margin)
    return hardest_violations(violations, _other_pictures(image, labels), top)


def structure_text_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """Neighbourhoods of sentences: margin + d(sentence, farthest of its group) - d(sentence, one of another group).

    CVPR 2016 asks it of every neighbour, and keeps the `top` violations of each pair; the public code and we ask it of
    the farthest in the batch, the anchor itself counted, and keep the `top` of each anchor. It wants ``data.captions``
    of 2 or more: with one sentence a picture the farthest is the anchor itself, at 0.01. Distances, `margin`, `top` and
    means as in `topk_image_loss`.
    """
    _, text, labels = checked(image, text, labels)
    violations = _beyond_neighbours(text, labels, margin)
    return hardest_violations(violations, ops.logical_not(of_one_group(labels)), top)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "ranking": ranking_loss,
    "ranking_sum": ranking_sum_loss,
    "ranking_max": ranking_max_loss,
    "infonce": infonce_loss,
    "sigmoid": sigmoid_loss,
    "topk_image": topk_image_loss,
    "topk_text": topk_text_loss,
    "structure_image": structure_image_loss,
    "structure_text": structure_text_loss,
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


def _beyond_neighbours(rows: Tensor, labels: Tensor, margin: float) -> Tensor:
    """By how much each row (down) is nearer to each other than its farthest neighbour and the margin: [B, B]."""
    apart = distances(rows, rows)
    farthest = ops.max(ops.where(of_one_group(labels), apart, 0.0), axis=1, keepdims=True)
    return margin + farthest - apart


def _other_pictures(image: Tensor, labels: Tensor) -> Tensor:
    """Which pictures (across) are of another group than each row's, each picture once: bool [B, B]."""
    return ops.logical_and(ops.logical_not(of_one_group(labels)), first_of_copies(image, labels))


def _scores(image: Tensor, text: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of all pairs (pictures down, sentences across), which are of one group, and which are the diagonal."""
    image, text, labels = checked(image, text, labels)
    scores = ops.matmul(image, ops.transpose(text))
    rows = ops.arange(ops.shape(scores)[0])
    return scores, of_one_group(labels), ops.equal(ops.expand_dims(rows, 1), ops.expand_dims(rows, 0))


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
