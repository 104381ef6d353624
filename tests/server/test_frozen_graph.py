"""Frozen signatures: the same outputs as the saved ones, with constant weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.served import sample_image
from itembed_tf.server.frozen_graph import freeze_signature


@pytest.fixture(scope="module")
def exports(toy_exports, tmp_path_factory):
    return toy_exports.copy(tmp_path_factory.mktemp("exports"), 1, 2)


@pytest.mark.parametrize(
    ("encoder", "name", "inputs"),
    [
        ("text_encoder", "serving_default", {"text": tf.constant(["a dog", "", "the red bike"])}),
        ("text_encoder", "ids", {"ids": tf.constant([[1, 2, 3, 0, 0, 0]])}),
        ("image_encoder", "serving_default", {"image_bytes": tf.constant([sample_image(0), sample_image(1, "PNG")])}),
    ],
)
def test_outputs_are_those_of_the_saved_signature(exports, encoder, name, inputs):
    """This fails too if TensorFlow no longer has the private `_call_flat`."""
    loaded = tf.saved_model.load(str(exports / encoder / "1"))
    signature = loaded.signatures[name]
    saved, frozen = signature(**inputs), freeze_signature(signature)(**inputs)
    assert sorted(frozen) == sorted(saved)
    for key in saved:
        np.testing.assert_allclose(frozen[key], saved[key], atol=1e-6)


def test_weights_are_constants(exports):
    loaded = tf.saved_model.load(str(exports / "text_encoder" / "1"))
    function, text = freeze_signature(loaded.signatures["serving_default"]), tf.constant(["a dog"])
    before = function(text=text)["embedding"].numpy()
    for variable in loaded.signatures["serving_default"].variables:
        variable.assign(tf.zeros_like(variable))
    np.testing.assert_array_equal(function(text=text)["embedding"], before)


def test_two_versions_of_a_model_with_loops_can_be_loaded(exports):
    """Frozen, their loop bodies would have the same names, and the second could not be loaded."""
    images = tf.constant([sample_image(0)])
    embeddings = []
    for version in ("1", "2"):
        loaded = tf.saved_model.load(str(exports / "image_encoder" / version))
        signature = loaded.signatures["serving_default"]
        embeddings.append(freeze_signature(signature)(image_bytes=images)["embedding"].numpy())
        np.testing.assert_allclose(embeddings[-1], signature(image_bytes=images)["embedding"], atol=1e-6)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-3
