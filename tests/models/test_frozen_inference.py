"""Frozen CNN in OpenVINO: the same features as TensorFlow, or TensorFlow's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.models import frozen_inference as module
from itembed_tf.models.frozen_inference import frozen_inference
from itembed_tf.models.inference import inference_function
from itembed_tf.training.building import building

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(image / 255.0)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(keras.layers.BatchNormalization()(x))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))


@pytest.fixture(scope="module")
def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(0, 255, (21, 16, 16, 3)).astype(np.float32))


def test_openvino_gives_the_features_of_tensorflow_in_the_same_order(network, images):
    encode = frozen_inference(network, module.WORTHWHILE)
    expected = inference_function(network)(images).numpy()
    for start, end in ((0, 21), (21, 21), (3, 4)):  # a batch, an empty one, one image
        np.testing.assert_allclose(encode(images[start:end]), expected[start:end], rtol=1e-4, atol=1e-6)


def test_openvino_sends_nothing_to_its_makers(network, images, monkeypatch):
    """`openvino.convert_model` sends an event without being asked."""
    telemetry = pytest.importorskip("openvino_telemetry.main")
    sent = []
    monkeypatch.setattr(telemetry.Telemetry, "init", lambda *_, **__: sent.append(1))
    frozen_inference(network, module.WORTHWHILE)(images)
    assert not sent


def test_a_network_that_openvino_cannot_run_is_encoded_by_tensorflow(network, images, monkeypatch, capsys):
    def fail(model: keras.Model) -> None:
        raise RuntimeError("no conversion for Foo\nCheck failed at line 7")

    monkeypatch.setattr(module, "_openvino_function", fail)
    encode = frozen_inference(network, module.WORTHWHILE)
    np.testing.assert_array_equal(encode(images), inference_function(network)(images))
    assert "OpenVINO cannot run this CNN (no conversion for Foo): TensorFlow encodes" in capsys.readouterr().out


def test_openvino_is_used_only_where_it_is_worthwhile_and_in_float32(network, monkeypatch):
    used = []
    monkeypatch.setattr(module, "_openvino_function", lambda *_: used.append(1))
    frozen_inference(network, module.WORTHWHILE - 1)
    with building("mixed_bfloat16", 0):
        image = keras.Input((16, 16, 3))
        inner = keras.Model(image, keras.layers.Conv2D(4, 3)(image))
    nested = keras.Model(image, keras.layers.GlobalAveragePooling2D(dtype="float32")(inner(image)))
    frozen_inference(nested, module.WORTHWHILE)
    assert not used
    frozen_inference(network, module.WORTHWHILE)
    assert used


@pytest.mark.parametrize("wrong", [lambda rows: rows[:, ::-1], lambda rows: rows * np.nan, np.zeros_like])
def test_features_that_differ_are_not_used_and_a_line_says_so(network, images, monkeypatch, capsys, wrong):
    forward = inference_function(network)
    monkeypatch.setattr(module, "_openvino_function", lambda *_: lambda rows: wrong(forward(tf.constant(rows)).numpy()))
    encode = frozen_inference(network, module.WORTHWHILE)
    np.testing.assert_array_equal(encode(images), forward(images))
    assert "TensorFlow encodes the images" in capsys.readouterr().out
