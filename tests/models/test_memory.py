"""The memory of training images: hand-worked query expansion, rows without effect, and the encoder that applies it."""

from __future__ import annotations

import keras
import numpy as np

from itembed_tf.models.dual_path import encoder
from itembed_tf.models.memory import ImageMemory, fill_memory, memory_of, with_memory
from tests.support.toy_model import dual_path

AXES = np.eye(3, dtype=np.float32)


def memory(images: np.ndarray, rows: int, weight: float = 0.5, temperature: float = 0.5) -> ImageMemory:
    layer = ImageMemory(rows=rows, weight=weight, temperature=temperature)
    layer.build((None, 3))
    fill_memory(layer, images)
    return layer


def test_a_text_moves_to_the_images_it_is_near_to() -> None:
    """Images on two axes, the text on the first: softmax of (1, 0) / 0.5 is (e^2, 1) / (e^2 + 1)."""
    near = np.exp(2) / (np.exp(2) + 1)
    recalled = np.array([near, 1 - near, 0]) / np.hypot(near, 1 - near)
    expected = AXES[0] + 0.5 * recalled
    found = keras.ops.convert_to_numpy(memory(AXES[:2], 2)(AXES[:1]))[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_rows_without_an_image_have_no_effect() -> None:
    random = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    texts = random / np.linalg.norm(random, axis=1, keepdims=True)
    exact, padded = memory(AXES, 3)(texts), memory(AXES, 50)(texts)
    np.testing.assert_allclose(padded, exact, atol=1e-6)
    np.testing.assert_allclose(memory(AXES[:0], 4)(texts), texts, atol=1e-6)


def test_a_text_without_a_known_word_stays_0() -> None:
    assert not keras.ops.convert_to_numpy(memory(AXES, 3)(np.zeros((1, 3), np.float32))).any()


def test_the_text_encoder_applies_it_and_the_image_encoder_does_not() -> None:
    model = dual_path()
    images = encoder(model, "image")
    with_rows = with_memory(model, rows=2, weight=0.3, temperature=0.04)
    layer = memory_of(with_rows)
    assert memory_of(model) is None
    assert layer is not None
    assert with_memory(model, rows=0, weight=0.3, temperature=0.04) is model
    pixels = np.random.default_rng(1).uniform(0, 255, (2, *images.input.shape[1:])).astype(np.float32)
    fill_memory(layer, images(pixels).numpy())
    ids = np.ones((1, model.get_layer("text_tower").input.shape[1]), np.int32)
    np.testing.assert_array_equal(encoder(with_rows, "image")(pixels), images(pixels))
    plain, expanded = encoder(model, "text")(ids).numpy(), encoder(with_rows, "text")(ids).numpy()
    np.testing.assert_allclose(expanded, layer(plain).numpy(), atol=1e-6)
    assert np.abs(expanded - plain).max() > 1e-3
