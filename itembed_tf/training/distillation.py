"""Distillation: the similarities of a finished run, the teacher, as targets for those of the encoders in training."""

from __future__ import annotations

from keras import ops

from itembed_tf.training.pairwise import Tensor


def distillation_loss(
    image: Tensor, text: Tensor, teacher_image: Tensor, teacher_text: Tensor, *, temperature: float
) -> Tensor:
    """Distillation of in-batch similarities: Kullback-Leibler divergence from the teacher's distribution to ours.

    For each image the softmax over the cosines of all captions of the batch, and for each caption that over all images;
    the mean over the anchors of each direction, then of both. 0 where all cosines are the teacher's. Pairs of one class
    are not masked: the teacher says how similar they are.

    Args:
        image, text: embeddings [B, D] in training, rows of unit length, any float dtype.
        teacher_image, teacher_text: embeddings [B, T] of the same images and captions by the teacher.
        temperature: divides the cosines of both.

    Returns:
        Scalar float32.
    """
    ours, theirs = _logits(image, text, temperature), _logits(teacher_image, teacher_text, temperature)
    return (_divergence(theirs, ours, axis=1) + _divergence(theirs, ours, axis=0)) / 2


def _logits(image: Tensor, text: Tensor, temperature: float) -> Tensor:
    """Cosines of all pairs by the temperature, float32 [B, B], images down."""
    image, text = ops.cast(image, "float32"), ops.cast(text, "float32")
    return ops.matmul(image, ops.transpose(text)) / temperature


def _divergence(theirs: Tensor, ours: Tensor, axis: int) -> Tensor:
    """Mean over anchors of KL(softmax(theirs) || softmax(ours)) along an axis of logits [B, B]."""
    target, found = (scores - ops.logsumexp(scores, axis=axis, keepdims=True) for scores in (theirs, ours))
    return ops.mean(ops.sum(ops.exp(target) * (target - found), axis=axis))
