"""Sentence feature layers: tf-idf, mean word vector, Fisher vector. Fitted once, never trained.

The fitted values are weights of these layers, so checkpoints, SavedModels and LiteRT files include them. Module
`fitting` sets them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops


class TfIdf(layers.Layer):
    """tf-idf: ids int32 [B, L] -> counts of `columns` selected words times their idf, unit length, [B, columns]."""

    def __init__(self, vocabulary_size: int, columns: int, **kwargs: Any):
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.place = self.add_weight(
            shape=(vocabulary_size,), dtype="int32", initializer="zeros", trainable=False, name="place"
        )  # for each id: its column + 1, or 0 if it has none
        self.idf = self.add_weight(shape=(columns,), initializer="zeros", trainable=False, name="idf")

    def call(self, ids: Any) -> Any:
        hot = ops.one_hot(
            ops.take(self.place, ids, axis=0), self.idf.shape[0] + 1, dtype="float32"
        )  # [B, L, columns+1]
        return _unit(ops.sum(hot, axis=1)[:, 1:] * self.idf)


class MeanVector(layers.Layer):
    """Mean word vector: ids int32 [B, L] -> [B, d]; zeros for a caption without known words."""

    def __init__(self, vocabulary_size: int, word_width: int, **kwargs: Any):
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.table = self.add_weight(
            shape=(vocabulary_size, word_width), initializer="zeros", trainable=False, name="table"
        )

    def call(self, ids: Any) -> Any:
        known = ops.expand_dims(ops.cast(ops.not_equal(ids, 0), "float32"), -1)  # [B, L, 1]
        total = ops.sum(ops.take(self.table, ids, axis=0) * known, axis=1)
        return total / ops.maximum(ops.sum(known, axis=1), 1.0)


class FisherVector(layers.Layer):
    """Fisher vector of a hybrid Gaussian-Laplacian mixture (Klein et al., CVPR 2015): ids int32 [B, L] -> [B, 2 K d].

    For every component and dimension: the sum over words of the posterior times the gradients by location and by scale,
    each normalised by its Fisher information; then signed square root and unit length, which makes the vector
    independent of the number of words.
    """

    def __init__(self, vocabulary_size: int, word_width: int, components: int, **kwargs: Any):
        super().__init__(dtype="float32", trainable=False, **kwargs)
        shapes = {
            "table": (vocabulary_size, word_width),  # word vectors, rotated as the mixture expects
            "prior": (components,),
            "location": (components, word_width),
            "scale": (components, word_width),
            "laplacian": (components, word_width),  # 1 or 0
        }
        for name, shape in shapes.items():
            setattr(self, name, self.add_weight(shape=shape, initializer="ones", trainable=False, name=name))

    def call(self, ids: Any) -> Any:
        known = ops.cast(ops.not_equal(ids, 0), "float32")  # [B, L]
        x = ops.expand_dims(ops.take(self.table, ids, axis=0), 2)  # [B, L, 1, d]
        z = (x - self.location) / self.scale  # [B, L, K, d]
        size, is_laplacian = ops.abs(z), self.laplacian
        heights = is_laplacian * math.log(2) + (1 - is_laplacian) * (math.log(2 * math.pi) / 2) + ops.log(self.scale)
        logs = -ops.sum(is_laplacian * size + (1 - is_laplacian) * ops.square(z) / 2, axis=-1)
        logs += ops.log(self.prior) - ops.sum(heights, axis=-1)
        shares = ops.softmax(logs, axis=-1) * ops.expand_dims(known, -1)  # [B, L, K]
        by_location = is_laplacian * ops.sign(z) + (1 - is_laplacian) * z
        by_scale = is_laplacian * (size - 1) + (1 - is_laplacian) * (ops.square(z) - 1) / math.sqrt(2)
        sums = [ops.einsum("blk,blkd->bkd", shares, gradient) for gradient in (by_location, by_scale)]
        total = ops.concatenate(sums, axis=-1) / ops.expand_dims(ops.sqrt(self.prior), -1)  # [B, K, 2d]
        total = ops.reshape(total, (-1, total.shape[1] * total.shape[2]))
        return _unit(ops.sign(total) * ops.sqrt(ops.abs(total)))


class Projection(layers.Layer):
    """PCA projection: features [B, F] -> [B, size]."""

    def __init__(self, width: int, size: int, **kwargs: Any):
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.mean = self.add_weight(shape=(width,), initializer="zeros", trainable=False, name="mean")
        self.axes = self.add_weight(shape=(width, size), initializer="zeros", trainable=False, name="axes")

    def call(self, x: Any) -> Any:
        return ops.matmul(x - self.mean, self.axes)


def _unit(x: Any) -> Any:
    """L2-normalise rows; zero rows stay zero."""
    return x / ops.maximum(ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True)), 1e-12)


def sentence_features(
    *, kind: str, words: int, components: int, size: int, vocabulary_size: int, word_width: int, length: int
) -> keras.Model:
    """Build the model "sentence_features": ids int32 [B, length], 0 = padding -> features float32 [B, F].

    Args:
        kind: "tf-idf" (F: `words`, or all words of a smaller vocabulary), "mean" (F: `word_width`) or "hglmm" (F: 2 x
            `components` x `word_width`).
        words: tf-idf: number of words with a column, those in most training captions.
        components: hglmm: mixture components K.
        size: F after PCA; 0 for no PCA.
        vocabulary_size: including the padding id.
        word_width: d, dimensions of the word vectors.
        length: L, ids of a caption.

    Raises:
        ValueError: an unknown kind, or a PCA size larger than the features.
    """
    ids = keras.Input((length,), dtype="int32", name="ids")
    makers: dict[str, Callable[[], layers.Layer]] = {
        "tf-idf": lambda: TfIdf(vocabulary_size, min(words, vocabulary_size - 1), name="tf_idf"),
        "mean": lambda: MeanVector(vocabulary_size, word_width, name="mean_vector"),
        "hglmm": lambda: FisherVector(vocabulary_size, word_width, components, name="fisher_vector"),
    }
    if kind not in makers:
        raise ValueError(f"sentence.kind is {kind!r}; allowed: {', '.join(makers)}")
    x = makers[kind]()(ids)
    width = x.shape[-1]
    if size > width:
        raise ValueError(
            f"sentence.size is {size}, but {kind} features have {width} dimensions; use a smaller size, or 0 for no PCA"
        )
    if size:
        x = Projection(width, size, name="projection")(x)
    return keras.Model(ids, x, name="sentence_features")
