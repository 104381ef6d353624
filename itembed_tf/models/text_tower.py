"""Text tower: residual CNN with 1x2 convolutions over the words of a text (paper section 3.2 and figure 2)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from itembed_tf.config.text_variants import VARIANTS, blocks_and_strides
from itembed_tf.models.heads import BATCH_NORM, embedding_head, new_weights


def text_tower(
    *,
    vocabulary_size: int,
    length: int,
    embedding_size: int,
    variant: str,
    depth: int,
    width: float,
    word_width: int,
    stem: int,
    blocks: tuple[int, ...],
    strides: tuple[int, ...],
    zero_gamma: bool,
    mask_padding: bool,
    pooling: str,
    head: str,
    hidden: int,
    dropout: float,
    sentence: keras.Model | None = None,
) -> keras.Model:
    """Build "text_tower": ``ids`` int32 [B, length], 0 = padding -> f [B, embedding_size].

    In a graph with an unknown length, the tower takes shorter inputs too: see
    `itembed_tf.config.text_variants.trailing_padding`.

    The word table is the layer "words". Variant "features" has neither blocks nor a word table: it is `sentence`
    ("sentence_features", ids to features) and the head "text_head".

    Args:
        vocabulary_size: padding id included.
        variant: a key of `VARIANTS`, or "features". Empty `blocks` and `strides` and the value "variant" of `pooling`
            and `head` take the values of the variant.
        width: multiplies the channels of every stage and of the stem.
        stem: channels of the 1x2 convolution before the blocks, before multiplication by `width`; 0 for none.
        sentence: for variant "features".

    Raises:
        ValueError: a depth that the variant does not have, or a number of strides other than the number of stages.
    """
    if variant == "features":
        assert sentence is not None, "variant features is built on a model of sentence features"
        head = "fc-bn-relu-dropout-fc" if head == "variant" else head
        return _on_features(sentence, head=head, hidden=hidden, dropout=dropout, embedding_size=embedding_size)
    plan = VARIANTS[variant]
    blocks, strides = blocks_and_strides(variant, depth, blocks, strides)
    ids = keras.Input((length,), dtype="int32", name="ids")
    words = layers.Embedding(vocabulary_size, word_width, embeddings_initializer="glorot_uniform", name="words")(ids)
    known = ops.expand_dims(ops.cast(ops.not_equal(ids, 0), words.dtype), -1)  # [B, L, 1]
    # Padding is zero, whatever training does to row 0 of the table.
    x, mask = ops.expand_dims(words * known, 1), ops.expand_dims(known, 1)  # [B, 1, L, W] and [B, 1, L, 1]
    # The released code has a bias on the words, which the batch norm that follows cancels.
    x = _batch_norm(x, "words_bn")
    keep = mask if mask_padding else None
    x = x if keep is None else x * keep
    channels = round(stem * width)
    if channels:
        x = _convolution(x, channels, 2, 1, "stem", left=variant == "released")
        x = layers.ReLU(name="stem_relu")(_batch_norm(x, "stem_bn"))
        x = x if keep is None else x * keep
    for stage, (count, stride) in enumerate(zip(blocks, strides, strict=True), start=1):
        out = round(128 * 2**stage * width)
        for block in range(1, count + 1):
            first = block == 1
            middle = out // (4 if variant != "released" or not first else 2 if stage == 1 else 1)
            step = stride if first else 1
            if keep is not None and step > 1:
                keep = _strided_mask(keep, step, f"stage{stage}_mask", left=variant == "released")
            x = _residual_block(
                x,
                middle,
                out,
                step,
                f"stage{stage}_block{block}",
                shortcut=first,
                zero_gamma=zero_gamma,
                variant=variant,
            )
            x = x if keep is None else x * keep
    f = _pool(x, keep, plan["pooling"] if pooling == "variant" else pooling)
    head = plan["head"] if head == "variant" else head
    f = embedding_head(f, head=head, hidden=hidden, dropout=dropout, embedding_size=embedding_size, name="text")
    return keras.Model(ids, f, name="text_tower")


def _on_features(sentence: keras.Model, **settings: Any) -> keras.Model:
    """The text tower of the two-branch network; `settings` are those of `embedding_head`."""
    features = keras.Input(sentence.output.shape[1:], name="features")
    head = keras.Model(features, embedding_head(features, **settings, name="text"), name="text_head")
    ids = keras.Input(sentence.input.shape[1:], dtype="int32", name="ids")
    return keras.Model(ids, head(sentence(ids)), name="text_tower")


def _strided_mask(keep: Any, stride: int, name: str, *, left: bool) -> Any:
    """The mask after a strided 1x2 convolution: 1 where its window contains a word."""
    if left:
        keep = layers.ZeroPadding2D(((0, 0), (1, 0)), name=f"{name}_pad")(keep)
    return layers.MaxPooling2D((1, 2), (1, stride), padding="valid" if left else "same", name=name)(keep)


def _residual_block(
    x: Any, middle: int, out: int, stride: int, name: str, *, shortcut: bool, zero_gamma: bool, variant: str
) -> Any:
    """Bottleneck block: 1x1 - 1x2 - 1x1, each with batch norm, plus shortcut: [B, 1, L, C] to [B, 1, L/stride, out]."""
    left = variant == "released"
    y = layers.ReLU(name=f"{name}_relu1")(_batch_norm(_convolution(x, middle, 1, 1, f"{name}_conv1"), f"{name}_bn1"))
    y = _convolution(y, middle, 2, stride, f"{name}_conv2", left=left)
    y = layers.ReLU(name=f"{name}_relu2")(_batch_norm(y, f"{name}_bn2"))
    y = _batch_norm(_convolution(y, out, 1, 1, f"{name}_conv3"), f"{name}_bn3", zero_gamma=zero_gamma)
    if shortcut:
        x = _batch_norm(_convolution(x, out, 1, stride, f"{name}_shortcut"), f"{name}_shortcut_bn")
    return layers.ReLU(name=f"{name}_relu3")(layers.Add(name=f"{name}_add")([x, y]))


def _convolution(x: Any, channels: int, window: int, stride: int, name: str, *, left: bool = False) -> Any:
    """A 1 x window convolution without bias; `left`: padding on the left only (released code)."""
    if left and window > 1:
        x = layers.ZeroPadding2D(((0, 0), (window - 1, 0)), name=f"{name}_pad")(x)
    return layers.Conv2D(
        channels,
        (1, window),
        strides=(1, stride),
        padding="valid" if left else "same",
        use_bias=False,
        kernel_initializer=new_weights(),
        name=name,
    )(x)


def _batch_norm(x: Any, name: str, *, zero_gamma: bool = False) -> Any:
    return layers.BatchNormalization(**BATCH_NORM, gamma_initializer="zeros" if zero_gamma else "ones", name=name)(x)


def _pool(x: Any, keep: Any, pooling: str) -> Any:
    """Pool [B, 1, L, C] over the words to [B, C], or [B, 2C] for mean+max; a text without known words gives zeros."""
    pooled = []
    if "mean" in pooling:
        if keep is None:
            pooled.append(ops.mean(x, axis=(1, 2)))
        else:
            pooled.append(ops.sum(x, axis=(1, 2)) / ops.maximum(ops.sum(keep, axis=(1, 2)), 1.0))
    if "max" in pooling:
        pooled.append(ops.max(x, axis=(1, 2)))  # x >= 0 after its ReLU, so masked padding is never the maximum
    return layers.Concatenate(name="mean_and_max")(pooled) if len(pooled) > 1 else pooled[0]
