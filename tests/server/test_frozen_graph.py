"""A frozen signature answers as the one that was saved, with the weights inside."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.served import picture, toy_export
from itembed_tf.server.frozen_graph import freeze_signature


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return toy_export(tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize(
    ("encoder", "name", "inputs"),
    [
        ("text_encoder", "serving_default", {"text": tf.constant(["a dog", "", "the red bike"])}),
        ("text_encoder", "ids", {"ids": tf.constant([[1, 2, 3, 0, 0, 0]])}),
        ("image_encoder", "serving_default", {"image_bytes": tf.constant([picture(0), picture(1, "PNG")])}),
    ],
)
def test_the_same_outputs_by_name(exports, encoder, name, inputs):
    loaded = tf.saved_model.load(str(exports / encoder / "1"))
    signature = loaded.signatures[name]
    wanted, found = signature(**inputs), freeze_signature(signature)(**inputs)
    assert sorted(found) == sorted(wanted)
    for key in wanted:
        np.testing.assert_allclose(found[key], wanted[key], atol=1e-6)


def test_later_weights_are_not_seen(exports):
    loaded = tf.saved_model.load(str(exports / "text_encoder" / "1"))
    function, text = freeze_signature(loaded.signatures["serving_default"]), tf.constant(["a dog"])
    before = function(text=text)["embedding"].numpy()
    for variable in loaded.signatures["serving_default"].variables:
        variable.assign(tf.zeros_like(variable))
    np.testing.assert_array_equal(function(text=text)["embedding"], before)


def test_two_versions_of_a_model_with_loops_answer_beside_each_other(tmp_path):
    """With constant weights their loops' bodies had the same names, and the second could not be loaded."""
    given = tf.constant([picture(0)])
    answers = []
    for seed in (0, 1):
        loaded = tf.saved_model.load(str(toy_export(tmp_path / str(seed), seed) / "image_encoder" / "1"))
        signature = loaded.signatures["serving_default"]
        answers.append(freeze_signature(signature)(image_bytes=given)["embedding"].numpy())
        np.testing.assert_allclose(answers[-1], signature(image_bytes=given)["embedding"], atol=1e-6)
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
