"""Loss functions: the instance loss (cross-entropy) and nine losses on batches of image and text embeddings.

Every loss of ``LOSSES`` is ``f(image [B, D], text [B, D], labels int [B], **hyper-parameters)`` and returns a float32
scalar. Rows have unit length, so that products of rows are cosines. Row i of both sides is a matching pair, and
``labels`` holds the class of each row. Other pairs of one class are not used as negatives: they are masked. Inputs of
any dtype are converted to float32. All losses run eagerly, in ``tf.function`` and under XLA.

All losses divide by the number of anchors. An anchor whose negatives are all masked adds 0 and is counted, so that the
weight of a pair does not depend on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from itembed_tf.training.pairwise import (
    Tensor,
    checked,
    cosines,
    distance,
    distances,
    first_of_copies,
    hardest_violations,
    same_class,
)

NEVER = -1e9  # logit of a masked pair: exp() of it is 0 in float32, and being finite it cannot give inf - inf


def instance_loss(
    logits: Tensor, labels: Tensor, *, label_smoothing: float, stands_for: Tensor | None = None
) -> Tensor:
    """Instance loss: cross-entropy with every group of the training set as a class (paper, eq. 5-8), mean over rows.

    Args:
        logits: [B, C], any float dtype.
        labels: int [B], 0 <= label < C.
        label_smoothing: e, 0 <= e < 1: the target is 1 - e on the label plus e / C on every class. Both the paper and
            the released code use 0.
        stands_for: float [C], of drawn classes: the number of classes that each stands for. The loss is then an
            estimate of the one over all classes. See `itembed_tf.training.sampling.draw_classes`.

    Returns:
        Scalar float32.

    Raises:
        ValueError: `label_smoothing` outside [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be >= 0 and < 1, and is {label_smoothing}")
    logits = ops.cast(logits, "float32")
    counted = logits if stands_for is None else logits + ops.log(stands_for)
    losses = ops.sparse_categorical_crossentropy(labels, counted, from_logits=True)
    if label_smoothing > 0:
        against_uniform = ops.logsumexp(counted, axis=-1) - _mean_over_classes(logits, stands_for)
        losses = (1 - label_smoothing) * losses + label_smoothing * against_uniform
    return ops.mean(losses)


def _mean_over_classes(logits: Tensor, stands_for: Tensor | None) -> Tensor:
    if stands_for is None:
        return ops.mean(logits, axis=-1)
    return ops.sum(logits * stands_for, axis=-1) / ops.sum(stands_for)


def ranking_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Triplet ranking loss with one negative per anchor and direction (paper, eq. 9; released code).

    In a batch of 2h rows the first h are anchors; the negatives of anchor i are text i+h for the image and image i+h
    for the text. The loss is the mean over the h anchors of the sum of both hinges. The released code sums over the
    anchors, multiplies by 2 and divides by the whole batch of 2h, which is the same value: its weight 2 is our weight 1
    (the paper's lambda_1 = 1). The last row of an odd batch is not used. An anchor whose negative is of its own class
    adds 0 and is counted; a batch of one row gives 0.

    Args:
        image, text, labels: see the module. With mined captions in rows h to 2h, `labels` are those of the images.
        margin: a; 1 in the paper and the released code.
    """
    image, text, labels = checked(image, text, labels)
    half = ops.shape(image)[0] // 2
    anchor_image, anchor_text = image[:half], text[:half]
    matching = cosines(anchor_image, anchor_text)
    hinges = ops.relu(margin - matching + cosines(anchor_image, text[half : 2 * half]))
    hinges += ops.relu(margin - matching + cosines(anchor_text, image[half : 2 * half]))
    negative = ops.not_equal(labels[:half], labels[half : 2 * half])
    return ops.sum(ops.where(negative, hinges, 0.0)) / ops.cast(ops.maximum(half, 1), "float32")


def ranking_sum_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Sum-of-hinges ranking loss (VSE): all negatives of the batch, mean over anchors, both directions added."""
    for_images, for_texts, count = _hinges(image, text, labels, margin)
    return (ops.sum(for_images) + ops.sum(for_texts)) / count


def ranking_max_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Max-violation ranking loss (VSE++): the hardest negative of the batch, mean over anchors, both directions added.

    VSE++ itself sums over the batch; this loss divides by its size.
    """
    for_images, for_texts, count = _hinges(image, text, labels, margin)
    return (ops.sum(ops.max(for_images, axis=1)) + ops.sum(ops.max(for_texts, axis=0))) / count


def infonce_loss(image: Tensor, text: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE loss (also NT-Xent, CLIP's loss): cross-entropy over the batch with the matching row as the class.

    Mean over anchors, then mean of both directions. Other rows of the anchor's class are left out of the denominator.
    `temperature` divides the cosines.
    """
    scores, same, diagonal = _scores(image, text, labels)
    logits = ops.where(ops.logical_and(same, ops.logical_not(diagonal)), NEVER, scores / _positive(temperature))
    matching = ops.sum(ops.where(diagonal, logits, 0.0), axis=1)
    denominators = (ops.logsumexp(logits, axis=1) + ops.logsumexp(logits, axis=0)) / 2
    return ops.mean(denominators - matching)


def sigmoid_loss(image: Tensor, text: Tensor, labels: Tensor, *, temperature: float, margin: float) -> Tensor:
    """Sigmoid loss (SigLIP): binary cross-entropy of every pair, with logits (cosine - margin) / temperature.

    All pairs of one class are positives. The sum over all pairs is divided by B, as in SigLIP, whose scale and bias are
    1 / temperature and -margin / temperature.
    """
    scores, same, _ = _scores(image, text, labels)
    logits = (scores - margin) / _positive(temperature)
    return ops.sum(ops.softplus(ops.where(same, -logits, logits))) / _rows(scores)


def topk_image_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """Top-k triplet loss on distances, image anchors: hinges of margin + d(image, its text) - d(image, other text).

    One of the four terms of the two-branch network (Wang et al.); the losses of a stage add them up. d is the Euclidean
    distance sqrt(2 - 2 cos + 1e-4). Each anchor keeps its `top` largest hinges (0: all); the loss is their mean over
    the anchors, zero hinges included. Public code: margin 0.05, top 10, this term with weight 1, `topk_text` 1.5 and
    `structure_text` 0.05; CVPR 2016: top 50, weights not published. Rows of the anchor's class are masked, whereas that
    code takes another caption of the image, if one is in the batch, as a negative.
    """
    image, text, labels = checked(image, text, labels)
    violations = margin + ops.expand_dims(distance(cosines(image, text)), 1) - distances(image, text)
    return hardest_violations(violations, ops.logical_not(same_class(labels)), top)


def topk_text_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """Top-k triplet loss on distances, text anchors: hinges of margin + d(text, its image) - d(text, other image).

    As `topk_image_loss`. An image that is repeated in several rows counts as one negative.
    """
    image, text, labels = checked(image, text, labels)
    violations = margin + ops.expand_dims(distance(cosines(image, text)), 1) - distances(text, image)
    return hardest_violations(violations, _other_images(image, labels), top)


def structure_image_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """Structure-preserving loss among images: margin + d(image, farthest of its class) - d(image, other image).

    As `structure_text_loss`, between images. CVPR 2016 defines it for groups of several images, such as the regions of
    one phrase; its public code leaves it out. An image without another one of its class in the batch is its own
    farthest, at distance 0.01: the hinges then push apart images that are nearer than the margin.
    """
    image, _, labels = checked(image, text, labels)
    violations = _beyond_neighbours(image, labels, margin)
    return hardest_violations(violations, _other_images(image, labels), top)


def structure_text_loss(image: Tensor, text: Tensor, labels: Tensor, *, margin: float, top: int) -> Tensor:
    """Structure-preserving loss among texts: margin + d(text, farthest of its class) - d(text, text of another class).

    CVPR 2016 applies it to every neighbour and keeps the `top` violations of each pair; the public code and this loss
    use the farthest one in the batch, the anchor included, and keep the `top` of each anchor. It needs
    ``data.captions`` >= 2: with one caption per image the farthest is the anchor itself, at distance 0.01. Distances,
    `margin`, `top` and means as in `topk_image_loss`.
    """
    _, text, labels = checked(image, text, labels)
    violations = _beyond_neighbours(text, labels, margin)
    return hardest_violations(violations, ops.logical_not(same_class(labels)), top)


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
    """Hard-negative mining: for each image the most similar caption of another class (released code).

    The released code embeds 256 random captions in test mode, without those of the batch's groups; both are left to the
    caller.

    Args:
        image: [n, D], unit length.
        candidates: [m, D], embedded captions, unit length.
        candidate_labels: int [m].
        labels: int [n], of the images.

    Returns:
        int32 [n], rows of `candidates`; of equals the first. It is 0 where every candidate is of the image's own
        class: compare ``candidate_labels`` if that can happen.
    """
    scores = ops.matmul(ops.cast(image, "float32"), ops.transpose(ops.cast(candidates, "float32")))
    same = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(candidate_labels, 0))
    return ops.cast(ops.argmax(ops.where(same, NEVER, scores), axis=1), "int32")


def _beyond_neighbours(rows: Tensor, labels: Tensor, margin: float) -> Tensor:
    """margin + distance of each row to the farthest of its class - distance to each other row: [B, B], anchors down."""
    apart = distances(rows, rows)
    farthest = ops.max(ops.where(same_class(labels), apart, 0.0), axis=1, keepdims=True)
    return margin + farthest - apart


def _other_images(image: Tensor, labels: Tensor) -> Tensor:
    """Pairs of rows (anchors down) with an image of another class, each repeated image once: bool [B, B]."""
    return ops.logical_and(ops.logical_not(same_class(labels)), first_of_copies(image, labels))


def _scores(image: Tensor, text: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of all pairs (images down, texts across), the mask of pairs of one class, and that of the diagonal."""
    image, text, labels = checked(image, text, labels)
    scores = ops.matmul(image, ops.transpose(text))
    rows = ops.arange(ops.shape(scores)[0])
    return scores, same_class(labels), ops.equal(ops.expand_dims(rows, 1), ops.expand_dims(rows, 0))


def _hinges(image: Tensor, text: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Hinges of every pair with the image as anchor and with the text as anchor, both [B, B], and B."""
    scores, same, diagonal = _scores(image, text, labels)
    matching = ops.sum(ops.where(diagonal, scores, 0.0), axis=1)
    for_images = ops.relu(margin - ops.expand_dims(matching, 1) + scores)
    for_texts = ops.relu(margin - ops.expand_dims(matching, 0) + scores)
    return ops.where(same, 0.0, for_images), ops.where(same, 0.0, for_texts), _rows(scores)


def _rows(scores: Tensor) -> Tensor:
    return ops.cast(ops.shape(scores)[0], "float32")


def _positive(temperature: float) -> float:
    if isinstance(temperature, (int, float)) and temperature <= 0:
        raise ValueError(f"temperature must be > 0, and is {temperature}; 0.05 is a common value")
    return temperature
