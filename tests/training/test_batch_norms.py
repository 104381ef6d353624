"""Fused batch norms: the values, gradients and moving statistics of Keras, by one operation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.training.batch_norms import fuse_batch_norms


def small_network(*, frozen: bool = False) -> keras.Model:
    """Batch norms of images, of captions as 1 x length x words, and of a vector."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(image)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, beta_initializer="random_normal")(x)
    x = keras.layers.Reshape((1, 12, 4))(keras.layers.ReLU(6.0)(x))
    x = keras.layers.BatchNormalization(momentum=0.5, epsilon=2e-5)(x)
    x = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(x))
    model = keras.Model(image, keras.layers.BatchNormalization()(x))
    for layer in model.layers:
        if frozen and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def step(model: keras.Model) -> tuple[dict[str, np.ndarray], list[str]]:
    """Output, gradients and moving statistics of a training pass, by name; and the operations of its graph."""
    images = np.random.default_rng(0).normal(3.0, 2.0, (7, 6, 5, 3)).astype(np.float32)
    targets = np.random.default_rng(1).normal(size=(7, 8)).astype(np.float32)

    @tf.function(autograph=False)
    def passed() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            output = model(images, training=True)
            loss = tf.reduce_sum(tf.cast(output, tf.float32) * targets)
        return output, tape.gradient(loss, model.trainable_variables)

    output, gradients = passed()
    found = {"output": output.numpy()} | {
        f"gradient {position}": gradient.numpy() for position, gradient in enumerate(gradients)
    }
    found |= {variable.path: variable.numpy() for variable in model.non_trainable_variables}
    operations = passed.get_concrete_function().graph.get_operations()
    return found, [operation.type for operation in operations]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_fused_batch_norm_is_that_of_keras(frozen):
    expected, _ = step(small_network(frozen=frozen))
    model = small_network(frozen=frozen)
    fuse_batch_norms(model)
    fuse_batch_norms(model)  # as in the second stage
    found, operations = step(model)
    for one, other in zip(expected.values(), found.values(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
    assert operations.count("FusedBatchNormV3") == (0 if frozen else 2)  # of the images and of the captions


def test_inference_after_training_uses_the_moving_statistics():
    model = small_network()
    fuse_batch_norms(model)
    step(model)
    plain = small_network()
    plain.set_weights(model.get_weights())
    images = np.random.default_rng(2).normal(size=(3, 6, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(images).numpy(), plain(images).numpy())
    assert np.abs(model.layers[2].moving_mean.numpy()).max() > 0.1  # they have moved
