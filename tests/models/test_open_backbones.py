"""Backbones of keras.applications, keras-hub and .keras files: pixels, features, freezing, storage, refusals."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from benchmarks.tiny_backbones import SIZE, tiny_network, write_network, write_preset
from itembed_tf.config.backbone_forms import APPLICATIONS
from itembed_tf.models import applications
from itembed_tf.models.architecture import architecture_of, feature_backbone, from_architecture
from itembed_tf.models.backbones import block_of, build_backbone, join_levels
from itembed_tf.models.network import BackboneError, leaf_layers
from itembed_tf.models.pixels import PIXELS, normalise
from itembed_tf.training.freezing import blocks_of

HUB = importlib.util.find_spec("keras_hub") is not None
needs_hub = pytest.mark.skipif(not HUB, reason="keras-hub is not installed")
layers = keras.layers


def random_images(count: int = 2, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def module_of(name: str) -> Any:
    """The module of keras.applications that has a model and its preprocess_input."""
    if name.startswith("MobileNetV3"):  # its module does not have the models
        return keras.applications.mobilenet_v3
    modules = [m for m in vars(keras.applications).values() if inspect.ismodule(m) and hasattr(m, name)]
    return modules[0]


def test_the_table_has_every_model_of_keras_applications() -> None:
    models = [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]
    assert set(models) == set(APPLICATIONS)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_pixels_are_those_of_the_library(name: str) -> None:
    images = random_images(size=4)
    expected = module_of(name).preprocess_input(images.copy())
    image = keras.Input((4, 4, 3))
    ours = normalise(image, PIXELS[APPLICATIONS[name].pixels])
    result = images if ours is image else keras.Model(image, ours)(images)
    assert np.allclose(result, expected, atol=1e-4)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_minimum_is_that_of_the_library(name: str) -> None:
    side = APPLICATIONS[name].minimum - 1
    with pytest.raises(ValueError, match="at least"):
        getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(side, side, 3))


def test_features_are_those_of_the_library() -> None:
    ours = build_backbone("keras:MobileNet", weights="none", size=32)
    theirs = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    theirs.set_weights(ours.get_weights())
    images = random_images(size=32)
    expected = theirs(keras.applications.mobilenet.preprocess_input(images.copy()))
    assert np.allclose(ours(images), expected, atol=1e-5)
    assert blocks_of(ours)[:3] == ["backbone.conv1", "backbone.conv_dw_1", "backbone.conv_pw_1"]
    joined = join_levels(ours, ["conv1", "conv_pw_3_relu"])
    assert joined(images).shape == (2, 2 * (32 + 128))


def test_efficientnet_has_the_same_layers_and_pixels_with_imagenet_weights_and_with_a_file(tmp_path: Path) -> None:
    """Keras adds a layer for ``weights="imagenet"``; its variances are corrected here instead."""
    deviation = np.array([0.229, 0.224, 0.225], np.float32)

    def build(weights: str | None) -> keras.Model:
        image = keras.Input((8, 8, 3))
        x = layers.Normalization(axis=3)(layers.Rescaling(1 / 255)(image))
        x = layers.Rescaling([float(1 / np.sqrt(d)) for d in deviation])(x) if weights else x
        model = keras.Model(image, x)
        if weights:  # as in the file: deviations in the place of variances
            norm = next(layer for layer in model.layers if isinstance(layer, layers.Normalization))
            norm.set_weights([np.float32([0.485, 0.456, 0.406]), deviation, *norm.get_weights()[2:]])
            norm.finalize_state()
        return model

    theirs, images = build("imagenet"), random_images(size=8)
    ours = applications._efficientnet(build, "imagenet")
    theirs.save_weights(tmp_path / "file.weights.h5")
    assert len(ours.layers) == len(theirs.layers) - 1
    assert np.allclose(ours(images), theirs(images), atol=1e-4)
    assert np.allclose(applications._efficientnet(build, "none")(images), images / 255, atol=1e-4)


def test_a_keras_file_is_a_backbone_with_levels_and_blocks(tmp_path: Path) -> None:
    network, images = tiny_network(), random_images()
    file = write_network(tmp_path / "tiny.keras", network)
    backbone = build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="-1..1")
    assert np.allclose(backbone(images), network(images / 127.5 - 1), atol=1e-5)
    assert blocks_of(backbone) == ["backbone.block1", "backbone.block2"]
    joined = join_levels(backbone, ["block1", "block2_conv"])
    inner = keras.Model(network.input, network.get_layer("block2_conv").output)(images / 127.5 - 1)
    maximum = np.asarray(inner).max(axis=(1, 2))
    standard = (maximum - maximum.mean(axis=1, keepdims=True)) / np.sqrt(maximum.var(axis=1, keepdims=True) + 1e-3)
    assert np.allclose(joined(images)[:, -16:], standard, atol=1e-4)
    with pytest.raises(ValueError, match=r"'block3' with spatial dimensions; allowed: .*block1, block2"):
        join_levels(backbone, ["block3"])


def test_a_stored_architecture_gives_the_same_backbone_without_its_file(tmp_path: Path) -> None:
    file = Path(write_network(tmp_path / "tiny.keras"))
    backbone = build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="-1..1")
    stored = json.loads(json.dumps(architecture_of(backbone)))
    file.unlink()
    again = build_backbone(f"file:{file}", weights="none", size=SIZE, pixels="-1..1", architecture=stored)
    again.set_weights(backbone.get_weights())
    assert from_architecture(stored, "stored").count_params() == again.count_params()  # it can be used twice
    assert np.array_equal(again(random_images()), backbone(random_images()))
    passed = from_architecture(json.loads(json.dumps(architecture_of(feature_backbone(5)))), "features")
    assert passed.input.name == "features" and np.array_equal(passed(np.ones((1, 5))), np.ones((1, 5)))


def test_a_stored_architecture_with_code_is_refused() -> None:
    image = keras.Input((SIZE, SIZE, 3))
    with_code = architecture_of(keras.Model(image, layers.Lambda(lambda x: x)(image)))
    with pytest.raises(BackboneError, match="Lambda layer, which runs code"):
        from_architecture(with_code, "backbones.json")
    other = json.loads(json.dumps(architecture_of(feature_backbone(5))).replace("keras.layers", "os.path"))
    with pytest.raises(BackboneError, match=re.escape("of os.path, which runs code")):
        from_architecture(other, "backbones.json")


def test_mixed_precision_reaches_a_file_but_not_its_pixels(tmp_path: Path) -> None:
    file = write_network(tmp_path / "tiny.keras")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="-1..1")
    finally:
        keras.config.set_dtype_policy("float32")
    assert backbone.output.dtype == "bfloat16"
    scaling = [layer for layer in leaf_layers(backbone) if isinstance(layer, layers.Rescaling)]
    assert [layer.compute_dtype for layer in scaling] == ["float32"]
    exact = build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="-1..1")
    assert np.allclose(np.float32(backbone(random_images())), exact(random_images()), atol=0.1)


@pytest.mark.parametrize(
    ("parts", "pixels", "size", "message"),
    [
        ({}, "-1..1", 96, "set image.size = 64"),
        ({}, "0..255", SIZE, "trained on another range"),
        ({"first": [layers.Rescaling(1 / 127.5, -1.0)]}, "-1..1", SIZE, "normalised twice"),
        ({"first": [layers.Rescaling(255.0)]}, "0..255", SIZE, "too large"),
        ({"last": [layers.Dense(3, activation="softmax")]}, "-1..1", SIZE, "is a classifier"),
        ({"last": [layers.Lambda(lambda x: x)]}, "-1..1", SIZE, "runs code"),
        ({"last": [layers.Dense(3, dtype="mixed_float16")]}, "-1..1", SIZE, "computes in mixed_float16"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    parts: dict[str, Any], pixels: str, size: int, message: str, tmp_path: Path
) -> None:
    file = write_network(tmp_path / "a.keras", tiny_network(**parts))
    with pytest.raises(BackboneError, match=message) as raised:
        build_backbone(f"file:{file}", weights="imagenet", size=size, pixels=pixels)
    assert "\n" not in str(raised.value)


def test_own_normalisation_and_any_size_are_taken(tmp_path: Path) -> None:
    network = tiny_network(size=None, first=[layers.Rescaling(1 / 127.5, -1.0)])
    file = write_network(tmp_path / "a.keras", network)
    backbone = build_backbone(f"file:{file}", weights="imagenet", size=96, pixels="0..255")
    assert np.allclose(backbone(random_images(size=96)), network(random_images(size=96)), atol=1e-5)


def test_channels_first_and_two_inputs_are_refused(tmp_path: Path) -> None:
    first = keras.Input((3, SIZE, SIZE))
    model = keras.Model(first, layers.GlobalAveragePooling2D(data_format="channels_first")(first))
    file = write_network(tmp_path / "first.keras", model)
    with pytest.raises(BackboneError, match="its channels come first"):
        build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="0..1")
    pair = [keras.Input((SIZE, SIZE, 3)), keras.Input((4,))]
    pooled = layers.Concatenate()([layers.GlobalAveragePooling2D()(pair[0]), pair[1]])
    file = write_network(tmp_path / "two.keras", keras.Model(pair, pooled))
    with pytest.raises(BackboneError, match="has the inputs"):
        build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="0..1")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.keras"
    file.write_bytes(b"PK no archive")
    with pytest.raises(BackboneError, match="is damaged"):
        build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="0..1")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "[]")
    with pytest.raises(BackboneError, match="save the model again"):
        build_backbone(f"file:{file}", weights="imagenet", size=SIZE, pixels="0..1")


@needs_hub
def test_a_preset_has_its_own_pixels_and_gives_pooled_tokens(tmp_path: Path) -> None:
    import keras_hub

    preset = write_preset("dinov2", tmp_path / "dinov2")
    backbone, images = build_backbone(f"keras_hub:{preset}", weights="imagenet", size=SIZE), random_images()
    converter = keras_hub.layers.ImageConverter.from_preset(preset)
    tokens = np.asarray(keras_hub.models.Backbone.from_preset(preset)(converter(images)))
    expected = np.concatenate([tokens[:, 0], tokens.mean(axis=1)], axis=1)
    assert np.allclose(backbone(images), expected, atol=1e-4)
    assert len(blocks_of(backbone)) == 3  # embeddings, encoder, last normalisation
    with pytest.raises(BackboneError, match="has its own pixel normalisation"):
        build_backbone(f"keras_hub:{preset}", weights="imagenet", size=SIZE, pixels="0..1")
    with pytest.raises(BackboneError, match=r"set image\.size = 64"):
        build_backbone(f"keras_hub:{preset}", weights="imagenet", size=96)


@needs_hub
def test_of_a_model_of_images_and_texts_the_image_part_is_used(tmp_path: Path) -> None:
    import keras_hub

    preset = write_preset("clip", tmp_path / "clip", converter=False)
    with pytest.raises(BackboneError, match="has no image converter"):
        build_backbone(f"keras_hub:{preset}", weights="imagenet", size=SIZE)
    backbone, images = (
        build_backbone(f"keras_hub:{preset}", weights="imagenet", size=SIZE, pixels="0..1"),
        random_images(),
    )
    expected = keras_hub.models.Backbone.from_preset(preset).get_vision_embeddings(images / 255)
    assert np.allclose(backbone(images), expected, atol=1e-5)
    assert not any("text" in layer.name for layer in leaf_layers(backbone))
    with pytest.raises(BackboneError, match="could not be loaded"):
        build_backbone(f"keras_hub:{tmp_path / 'none'}", weights="imagenet", size=SIZE)


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("block3_1_expand", "block3"),
        ("stem_bn", "stem"),
        ("convnext_tiny_stage_0_block_1_layer_scale", "convnext_tiny_stage_0"),
        ("dinov2_backbone_embeddings", "dinov2_backbone_embeddings"),
        ("conv2_block1_1_conv", "conv2"),
    ],
)
def test_the_block_of_a_layer(layer: str, block: str) -> None:
    assert block_of(layer) == block
