"""Image tower: a backbone and an embedding head."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from itembed_tf.models.architecture import Architecture
from itembed_tf.models.backbones import build_backbone, five_crop_size, five_crops, join_levels
from itembed_tf.models.heads import embedding_head


def image_tower(
    *,
    backbone: str,
    weights: str,
    pixels: str,
    features: str,
    levels: Sequence[str],
    crops: int,
    head: str,
    hidden: int,
    dropout: float,
    size: int,
    embedding_size: int,
    architecture: Architecture | None = None,
) -> keras.Model:
    """Build "image_tower": image [B, size, size, 3], float32, 0..255 -> [B, embedding_size] (dtype of the policy).

    With `features` its input is "features" [B, F], float32, of an image in place of its pixels.

    It nests two models, ``backbone`` (image to features [B, F]) and ``image_head`` (features to embedding), so that the
    features of a frozen backbone can be cached and the head trained on them. A backbone with ``trainable = False``
    runs its batch norms in inference mode; the released code used batch statistics there.

    Args:
        backbone, weights, pixels: see `itembed_tf.models.backbones.build_backbone`.
        features: file of the features; `architecture` is then a `itembed_tf.models.architecture.feature_backbone`.
        levels: see `itembed_tf.models.backbones.join_levels`; none for the output of the backbone.
        crops: 1 for the whole image, 5 for `itembed_tf.models.backbones.five_crops`.
        head, hidden, dropout: see `itembed_tf.models.heads.embedding_head`.
        architecture: of the backbone, as a run keeps it.
    """
    side = five_crop_size(size) if crops == 5 else size
    name = features or backbone
    cnn = build_backbone(name, weights=weights, size=side, pixels=pixels, architecture=architecture)
    if levels:
        cnn = join_levels(cnn, levels)
    if crops == 5:
        cnn = five_crops(cnn, size)
    inside = keras.Input((cnn.output_shape[-1],), name="features")
    embedding = embedding_head(
        inside, head=head, hidden=hidden, dropout=dropout, embedding_size=embedding_size, name="image"
    )
    image_head = keras.Model(inside, embedding, name="image_head")
    image = keras.Input(cnn.input.shape[1:], dtype="float32", name=cnn.input.name)
    return keras.Model(image, image_head(cnn(image)), name="image_tower")
