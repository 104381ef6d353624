"""Building a model from a config: precision, initial weights, and no side effects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from itembed_tf.config import Config, load_config
from itembed_tf.training.build import build_model
from itembed_tf.training.checkpoints import named_variables
from tests.conftest import two_stages
from tests.support.toy_model import dual_path

SMALL = ["image.size=32", "image_tower.weights=none", "embedding_size=8", "text_tower.width=0.05", "text.length=6"]
CONFIGS = Path(__file__).parents[2] / "configs"
OLD = Path(__file__).parents[1] / "support" / "version_0_1_0"


@pytest.fixture
def shallow() -> Iterator[None]:
    with two_stages():
        yield


def config(*more: str) -> Config:
    return load_config(None, [*SMALL, "text_tower.blocks=[1]", *more])


@pytest.mark.usefixtures("shallow")
def test_build_model_does_not_change_seeds_or_dtype_policy() -> None:
    random.seed(5)
    np.random.seed(5)
    keras.config.set_dtype_policy("mixed_float16")
    expected = random.Random(5).random(), np.random.RandomState(5).random()
    build_model(config("precision=mixed_bfloat16", "seed=1"), vocabulary_size=5, classes=3)
    assert keras.config.dtype_policy().name == "mixed_float16"
    assert (random.random(), np.random.random()) == expected


@pytest.mark.usefixtures("shallow")
def test_precision_comes_from_the_config_not_the_global_policy() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_model(config(), vocabulary_size=5, classes=3)
    assert model.dtype_policy.name == "float32" and model.get_layer("text_tower").compute_dtype == "float32"
    keras.config.set_dtype_policy("float32")
    model = build_model(config("precision=mixed_bfloat16"), vocabulary_size=5, classes=3)
    assert model.get_layer("text_tower").get_layer("text_fc1").compute_dtype == "bfloat16"


@pytest.mark.usefixtures("shallow")
def test_initial_weights_depend_only_on_the_seed() -> None:
    weights = []
    for seed in (1, 1, 2):
        random.seed(len(weights))
        weights.append(build_model(config(f"seed={seed}"), vocabulary_size=5, classes=3).get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_weights_saved_by_version_0_1_0_give_the_same_outputs() -> None:
    saved = np.load(OLD / "toy.npz")
    model = dual_path(dropout=0.3)
    model.load_weights(OLD / "toy.weights.h5")
    out = model({"image": saved["image"], "ids": saved["ids"]}, training=False)
    for name, value in out.items():
        np.testing.assert_allclose(value, saved[name], rtol=1e-5, atol=1e-5)


def test_every_variable_of_the_default_model_has_a_unique_name() -> None:
    """The CNN and the text tower both have a layer named "stem"."""
    small = load_config(CONFIGS / "openmoji.toml", [*SMALL, "text_tower.width=1.0", "text_tower.stem=8"])
    model = build_model(small, vocabulary_size=5, classes=3)
    paths = [variable.path for variable in model.variables]
    assert paths.count("stem/kernel") == 2  # otherwise this test would prove nothing
    assert len(named_variables("model", model.variables, model)) == len(model.variables)
