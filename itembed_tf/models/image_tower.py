"""Image tower: an ImageNet backbone and an embedding head."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from itembed_tf.models.backbones import build_backbone, five_crop_size, five_crops, join_levels
from itembed_tf.models.heads import embedding_head


def image_tower(
    *,
    backbone: str,
    weights: str,
    levels: Sequence[str],
    crops: int,
    head: str,
    hidden: int,
    dropout: float,
    size: int,
    embedding_size: int,
) -> keras.Model:
    """Build "image_tower": image [B, size, size, 3], float32, 0..255 -> [B, embedding_size] (dtype of the policy).

    It nests two models, ``backbone`` (image to features [B, F]) and ``image_head`` (features to embedding), so that the
    features of a frozen backbone can be cached and the head trained on them. A backbone with ``trainable = False``
    runs its batch norms in inference mode; the released code used batch statistics there.

    Args:
        backbone, weights: see `itembed_tf.models.backbones.build_backbone`.
        levels: see `itembed_tf.models.backbones.join_levels`; none for the output of the backbone.
        crops: 1 for the whole image, 5 for `itembed_tf.models.backbones.five_crops`.
        head, hidden, dropout: see `itembed_tf.models.heads.embedding_head`.
    """
    cnn = build_backbone(backbone, weights=weights, size=five_crop_size(size) if crops == 5 else size)
    if levels:
        cnn = join_levels(cnn, levels)
    if crops == 5:
        cnn = five_crops(cnn, size)
    features = keras.Input((cnn.output_shape[-1],), name="features")
    embedding = embedding_head(
        features, head=head, hidden=hidden, dropout=dropout, embedding_size=embedding_size, name="image"
    )
    image_head = keras.Model(features, embedding, name="image_head")
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    return keras.Model(image, image_head(cnn(image)), name="image_tower")
