"""Gradients of a batch in parts: those of the whole batch, with the same dropout masks, norms updated once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.models.classifier import SharedClassifier
from itembed_tf.training.accumulation import gradients_in_parts
from itembed_tf.training.losses import infonce_loss

B, K, L, WORDS, D, CLASSES = 6, 2, 3, 7, 5, 9


def network(*, dropout: float = 0.0, norm: bool = False, sampled: int = 0) -> keras.Model:
    """A dual-path model of two small towers."""
    keras.utils.set_random_seed(1)
    image, ids = keras.Input((4,), name="image"), keras.Input((L,), name="ids", dtype="int32")
    seen = keras.layers.Dense(D, activation="tanh")(image)
    seen = keras.layers.BatchNormalization()(seen) if norm else seen
    read = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(WORDS, D)(ids))
    features = {"image": keras.layers.Dropout(dropout)(seen), "text": keras.layers.Dropout(dropout)(read)}
    classifier = SharedClassifier(
        CLASSES, D, 4.0, False, initializer="glorot_uniform", sampled=sampled, name="classifier"
    )
    drawn = {"drawn": keras.Input((), name="drawn", dtype="int32")} if sampled else {}
    logits = classifier(features, **drawn)
    outputs = {f"{side}_embedding": keras.layers.UnitNormalization()(features[side]) for side in features}
    return keras.Model(
        {"image": image, "ids": ids} | drawn, outputs | {f"{side}_logits": logits[side] for side in features}
    )


def batch(sampled: bool = False) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(2)
    inputs = {
        "image": tf.constant(random.normal(size=(B, 4)).astype(np.float32)),
        "ids": tf.constant(random.integers(0, WORDS, (K * B, L)).astype(np.int32)),
    }
    return inputs | ({"drawn": tf.constant([0, 1, 2, 3, 4, 5, 7])} if sampled else {})


def objective(out: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Any]:
    """Every pair of the batch is in one loss, and every row in the other."""
    image, labels = out["image_embedding"], tf.range(B)
    pairs = [infonce_loss(image, text, labels, temperature=0.2) for text in tf.split(out["text_embedding"], K)]
    own = keras.losses.sparse_categorical_crossentropy(tf.tile(labels, [K]), out["text_logits"], from_logits=True)
    total = tf.add_n(pairs) + tf.reduce_mean(own)
    return total, total


def close(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(tf.convert_to_tensor(one), tf.convert_to_tensor(other), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_gradients_are_those_of_the_whole_batch(parts: int, sampled: bool) -> None:
    model, inputs = network(sampled=7 if sampled else 0), batch(sampled)
    with tf.GradientTape() as tape:
        out = model(inputs, training=True)
        total, _ = objective(out)
    expected = tape.gradient(total, model.trainable_variables)
    compiled = tf.function(lambda: gradients_in_parts(model, inputs, model.trainable_variables, objective, parts))
    whole, same, gradients = compiled()
    np.testing.assert_allclose(same, total, rtol=1e-6)
    assert whole.keys() == out.keys()
    for name, rows in whole.items():
        np.testing.assert_allclose(rows, out[name], atol=1e-6)
    close(gradients, expected)
    rows = model.get_layer("classifier").class_weights
    place = [id(v) for v in model.trainable_variables].index(id(rows))
    assert isinstance(gradients[place], tf.IndexedSlices) == sampled, "of the classifier only drawn rows are touched"


def test_both_passes_have_the_same_dropout_masks_and_norms_are_updated_once_for_each_part() -> None:
    model, inputs = network(dropout=0.5, norm=True), batch()
    start = [variable.numpy() for variable in model.non_trainable_variables]
    with tf.GradientTape() as tape:  # both parts under one tape
        halves = []
        for half in (slice(0, 3), slice(3, 6)):
            captions = tf.reshape(tf.reshape(inputs["ids"], [K, B, L])[:, half], [-1, L])
            halves.append(model({"image": inputs["image"][half], "ids": captions}, training=True))
        out = {
            name: tf.reshape(
                tf.concat([tf.reshape(each[name], [-1, 3, each[name].shape[1]]) for each in halves], axis=1),
                [-1, halves[0][name].shape[1]],
            )
            for name in halves[0]
        }
        total, _ = objective(out)
    expected = tape.gradient(total, model.trainable_variables)
    after = [variable.numpy() for variable in model.non_trainable_variables]
    assert any((one != other).any() for one, other in zip(start, after)), "masks and norms have moved on"
    for variable, value in zip(model.non_trainable_variables, start, strict=True):
        variable.assign(value)
    _, same, gradients = gradients_in_parts(model, inputs, model.trainable_variables, objective, 2)
    np.testing.assert_allclose(same, total, rtol=1e-6)
    close(gradients, expected)
    for variable, value in zip(model.non_trainable_variables, after, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-6)


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    model = network()
    with pytest.raises(ValueError, match="a batch of 6 images cannot be passed in 4 equal parts"):
        gradients_in_parts(model, batch(), model.trainable_variables, objective, 4)
