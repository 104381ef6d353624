"""A text encoder that can be trained again, with rows for more words, and with a head that can be changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from itembed_tf.config.text_variants import trailing_padding
from itembed_tf.exporting.pair import contract_hash, weights_checksum
from itembed_tf.models.dual_path import encoder, over_all_shifts
from itembed_tf.models.ensemble import joined_text_tower, new_projection
from itembed_tf.models.inference import inference_function, predict_texts, without_padding
from itembed_tf.models.text_tower import text_tower
from itembed_tf.teaching.data import TeachingData
from itembed_tf.training.building import building

BATCH = 256


class TrainableTextEncoder:
    """The text encoder of some data, with rows for `words` after those of its vocabulary.

    Attributes:
        vocabulary: with the added words.
        model: ids int32 [B, L] -> embedding float32 [B, D], unit length.
    """

    def __init__(self, data: TeachingData, words: Sequence[str] = ()) -> None:
        self._data = data
        self.vocabulary = replace(data.vocabulary, words=(*data.vocabulary.words, *words))
        sizes: dict[str, Any] = {"vocabulary_size": self.vocabulary.size, "length": self.vocabulary.length}
        with building("float32", 0):
            self._towers = [text_tower(**settings, **sizes) for settings in data.towers]
            tower = self._towers[0]
            if len(self._towers) > 1:
                tower = joined_text_tower(self._towers, new_projection(data.dev_images.shape[1]))
            whole = keras.Model(tower.input, tower(tower.input))
            self.model = encoder(whole, "text", shifts=data.encoding_settings["shifts"])
        self._tower, self._known_rows = tower, data.vocabulary.size
        self._trailing_padding = trailing_padding(data.towers, data.encoding_settings["shifts"])
        for variable, weight in zip(self.model.variables, data.weights, strict=True):
            added = np.zeros((variable.shape[0] - len(weight), *weight.shape[1:]) if weight.ndim else 0, np.float32)
            variable.assign(np.concatenate([weight, added]) if len(added) else weight)
        denses = [layer for layer in tower.layers if isinstance(layer, keras.layers.Dense)]
        self._head = denses[-1]

    @property
    def contract(self) -> str:
        """Contract hash of this encoder with the image encoder of the data."""
        data = self._data
        weights = weights_checksum(self.model)
        return contract_hash(data.image_settings, data.encoding_settings, self.vocabulary, data.image_weights, weights)

    @property
    def rows(self) -> NDArray[np.float32]:
        """Rows of the word table of the added words, [n, width]; they can be set.

        Those of the members of an ensemble are side by side: width is the sum of theirs.
        """
        return _side_by_side([np.asarray(table.value)[self._known_rows :] for table in self._tables])

    @rows.setter
    def rows(self, rows: NDArray[np.float32]) -> None:
        widths = np.cumsum([table.shape[1] for table in self._tables])[:-1]
        for table, known, added in zip(self._tables, self._known_tables, np.split(rows, widths, axis=1)):
            table.assign(np.concatenate([known, added]))

    @property
    def typical_rows(self) -> NDArray[np.float32]:
        """Rows of the words that the vocabulary had, without padding, [V, width]."""
        return _side_by_side([table[1:] for table in self._known_tables])

    @property
    def head(self) -> NDArray[np.float32]:
        """Weights of the last linear layer, [F, D]; they can be set."""
        return np.asarray(self._head.kernel.value)

    @head.setter
    def head(self, kernel: NDArray[np.float32]) -> None:
        self._head.kernel.assign(kernel)

    @property
    def head_scale(self) -> NDArray[np.float32]:
        """What an output of the last linear layer is multiplied by afterwards: by batch normalisation, [D]."""
        last = self._tower.layers[-1]
        if not isinstance(last, keras.layers.BatchNormalization):
            return np.ones(self._head.units, np.float32)
        return np.asarray(last.gamma.value / tf.sqrt(last.moving_variance.value + last.epsilon))

    def embed(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Embeddings of word ids [n, L]: float32 [n, D], unit length."""
        return predict_texts(self._embed, ids, BATCH, self._trailing_padding)

    def features(self, ids: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Input of the last linear layer, [n, F], and the embeddings before they get unit length, [n, D]."""
        both = predict_texts(self._features, ids, BATCH, self._trailing_padding)
        return both[:, : self._head.kernel.shape[0]], both[:, self._head.kernel.shape[0] :]

    def row_gradient(
        self, ids: NDArray[np.int32], targets: NDArray[np.float32], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cosine of each text with its target, [n], and the gradient of their weighted sum by the rows, [n, width]."""
        cosines, gradient = self._row_gradient(without_padding(ids, self._trailing_padding), targets, weights)
        return np.asarray(cosines), np.asarray(gradient)[self._known_rows :]

    @cached_property
    def _embed(self):  # type: ignore[no-untyped-def]
        return inference_function(self.model, any_length=True)

    @cached_property
    def _features(self):  # type: ignore[no-untyped-def]
        tower = self._tower
        both = keras.Model(tower.input, keras.layers.Concatenate()([self._head.input, tower.output]))
        if self._data.encoding_settings["shifts"] == "all":
            ids = keras.Input(tower.input.shape[1:], dtype="int32")
            both = keras.Model(ids, over_all_shifts(both, ids))
        return inference_function(both, any_length=True)

    @cached_property
    def _row_gradient(self):  # type: ignore[no-untyped-def]
        tables, model = [table.value for table in self._tables], self.model

        shapes = ((None, None), tf.int32), ((None, None), tf.float32), ((None,), tf.float32)
        # A length that is unknown while it is traced: the model would refuse ids shorter than its input.

        @tf.function(input_signature=[tf.TensorSpec(*shape) for shape in shapes], autograph=False)
        def gradient(ids: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(tables)
                cosines = tf.reduce_sum(model(ids, training=False) * targets, axis=1)
                total = tf.reduce_sum(weights * cosines)
            return cosines, tf.concat([tf.convert_to_tensor(g) for g in tape.gradient(total, tables)], axis=1)

        return gradient

    @property
    def _tables(self) -> list[keras.Variable]:
        return [tower.get_layer("words").embeddings for tower in self._towers]

    @cached_property
    def _known_tables(self) -> list[NDArray[np.float32]]:
        """The word tables before any lesson."""
        number = {id(variable): i for i, variable in enumerate(self.model.variables)}
        return [self._data.weights[number[id(table)]] for table in self._tables]


def _side_by_side(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)
