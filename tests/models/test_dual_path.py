"""The dual-path model: one classifier for both towers, imprinting, cached features, encoders that average views."""

from __future__ import annotations

from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.models.dual_path import encoder, feature_encoder, parts, views
from itembed_tf.models.imprinting import imprint
from itembed_tf.training.losses import instance_loss
from tests.support.toy_model import CLASSES, LENGTH, SIZE, WORDS, D, dual_path


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    ids = random.integers(1, WORDS, (6, LENGTH)).astype(np.int32)
    ids[0, 2:], ids[1, 4:], ids[2] = 0, 0, 0
    return {"image": random.uniform(0, 255, (6, SIZE, SIZE, 3)).astype(np.float32), "ids": ids}


def unit(x: Any) -> np.ndarray:
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def f(model: keras.Model, side: str, x: Any) -> np.ndarray:
    """Output of a tower, before L2 normalisation."""
    return model.get_layer(f"{side}_tower")(x, training=False).numpy()


def test_both_towers_share_one_classifier(batch):
    model = dual_path()
    kernel = model.get_layer("classifier").class_weights
    assert kernel.shape == (CLASSES, D)
    assert sum(tuple(v.shape) == (CLASSES, D) for v in model.variables) == 1
    labels = np.array([0, 1, 2, 3, 0, 1])
    with tf.GradientTape(persistent=True) as tape:
        out = model(batch, training=True)
        loss = {side: instance_loss(out[f"{side}_logits"], labels, label_smoothing=0.0) for side in ("image", "text")}
        both = loss["image"] + loss["text"]
    image, text, total = (tape.gradient(x, kernel.value).numpy() for x in (loss["image"], loss["text"], both))
    assert np.abs(image).max() > 1e-4 and np.abs(text).max() > 1e-4
    np.testing.assert_allclose(total, image + text, atol=1e-6)
    conv = parts(model)["backbone"].get_layer("conv").kernel
    assert tape.gradient(loss["text"], conv.value) is None  # a text loss has no gradient in the image tower


def test_plain_logits_are_w_f_plus_b(batch):
    model = dual_path(bias=True)
    classifier = model.get_layer("classifier")
    classifier.bias.assign([1.0, 2.0, 3.0, 4.0])
    expected = f(model, "text", batch["ids"]) @ classifier.class_weights.numpy().T + [1, 2, 3, 4]
    np.testing.assert_allclose(model(batch, training=False)["text_logits"], expected, rtol=1e-4, atol=1e-5)
    assert dual_path().get_layer("classifier").bias is None


def test_cosine_logits_are_scale_times_cosine(batch):
    model = dual_path(scale=7.0)
    kernel = model.get_layer("classifier").class_weights
    kernel.assign(kernel.numpy() * 100)  # length of w must not matter
    logits = model(batch, training=False)["image_logits"].numpy()
    expected = 7 * unit(f(model, "image", batch["image"])) @ unit(kernel.numpy()).T
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(logits).max() <= 7.001


def test_random_classifier_is_initialised_as_in_the_released_code():
    kernel = dual_path(classes=2000).get_layer("classifier").class_weights.numpy()
    limit = 0.1 * np.sqrt(3 / D)  # uniform fan-in rule, times 0.1
    assert limit * 0.99 < np.abs(kernel).max() <= limit


def test_relu_applies_to_losses_but_not_to_encoders(batch):
    model = dual_path(relu=True)
    raw = f(model, "image", batch["image"])
    assert raw.min() < 0
    out = model(batch, training=False)
    np.testing.assert_allclose(out["image_embedding"], unit(np.maximum(raw, 0)), atol=1e-5)
    logits = np.maximum(raw, 0) @ model.get_layer("classifier").class_weights.numpy().T
    np.testing.assert_allclose(out["image_logits"], logits, atol=1e-5)
    np.testing.assert_allclose(encoder(model, "image")(batch["image"]), unit(raw), atol=1e-5)


def test_dropout_applies_to_the_classifier_only(batch):
    plain, dropped = dual_path(), dual_path(dropout=0.75)
    dropped.set_weights([*plain.get_weights(), *dropped.get_weights()[len(plain.get_weights()) :]])
    a, b = plain(batch, training=True), dropped(batch, training=True)
    np.testing.assert_allclose(a["text_embedding"], b["text_embedding"], atol=1e-6)
    assert np.abs(a["text_logits"] - b["text_logits"]).max() > 1e-3
    np.testing.assert_allclose(
        plain(batch, training=False)["text_logits"], dropped(batch, training=False)["text_logits"], atol=1e-5
    )


@pytest.mark.parametrize("relu", [False, True])
def test_imprint_gives_each_class_its_unit_mean_feature(relu):
    """So the images are classified correctly before the first step."""
    model = dual_path(classes=12, classifier="imprinted", scale=20.0, relu=relu)
    features = np.random.default_rng(0).normal(0, 1, (24, parts(model)["image_head"].input.shape[-1])).astype("float32")
    labels = np.repeat(np.arange(12, dtype=np.int32), 2)
    features[1::2] = features[::2] + 0.1 * features[1::2]  # two similar images per class
    mapped = parts(model)["image_head"](features, training=True).numpy()
    imprint(model, features, labels)
    mapped = unit(np.maximum(mapped, 0) if relu else mapped)
    expected = unit(mapped[::2] + mapped[1::2])
    np.testing.assert_allclose(model.get_layer("classifier").class_weights.numpy(), expected, atol=1e-4)
    out = model.on_features({"image_features": features, "ids": np.zeros((24, LENGTH), np.int32)}, training=True)
    assert np.mean(out["image_logits"].numpy().argmax(-1) == labels) > 0.95


def test_imprint_uses_batches_of_similar_size():
    """A last batch of a single image would have zero features, because of its own batch statistics."""
    model = dual_path(classes=21, classifier="imprinted")
    features = np.random.default_rng(0).normal(0, 1, (21, parts(model)["image_head"].input.shape[-1])).astype("float32")
    imprint(model, features, np.arange(21), batch_size=10)
    np.testing.assert_allclose(
        np.linalg.norm(model.get_layer("classifier").class_weights.numpy(), axis=1), 1, atol=1e-5
    )
    with pytest.raises(ValueError, match=r"without an image to imprint: \[20\]"):
        imprint(model, features, np.minimum(np.arange(21), 19))


@pytest.mark.parametrize("images", [1, 3])
def test_imprint_of_one_image_says_that_images_must_differ(images):
    """Batch normalisation makes the only image zero, and equal images too: no class is without an image."""
    model = dual_path(classes=images, classifier="imprinted")
    beta = parts(model)["image_head"].get_layer("image_bn1").beta
    beta.assign(np.zeros(beta.shape))  # as at the start of a training
    features = np.ones((images, parts(model)["image_head"].input.shape[-1]), "float32")
    with pytest.raises(
        ValueError, match=rf"the features of {images} of {images} classes are zero .* images that differ"
    ):
        imprint(model, features, np.arange(images))


def test_cached_features_give_the_same_outputs_as_images(batch):
    model = dual_path(scale=5.0, relu=True)
    features = parts(model)["backbone"](batch["image"], training=False)
    from_images = model(batch, training=False)
    from_features = model.on_features({"image_features": features, "ids": tf.constant(batch["ids"])}, training=False)
    assert from_images.keys() == from_features.keys()
    for name, value in from_images.items():
        np.testing.assert_allclose(from_features[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert {id(v) for v in model.on_features.variables} < {id(v) for v in model.variables}


def test_flip_averages_with_the_mirror_image(batch):
    model = dual_path()
    expected = unit(f(model, "image", batch["image"]) + f(model, "image", batch["image"][:, :, ::-1]))
    found = encoder(model, "image", flip=True)(batch["image"]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32
    assert np.abs(found - encoder(model, "image", flip=False)(batch["image"])).max() > 1e-3


def test_all_shifts_equal_a_loop_over_positions(batch):
    model = dual_path()
    found = encoder(model, "text", shifts="all")(batch["ids"]).numpy()
    for row, result in zip(batch["ids"], found, strict=True):
        words = int((row != 0).sum())
        positions = []
        for start in range(LENGTH - words + 1):
            shifted = np.zeros((1, LENGTH), np.int32)
            shifted[0, start : start + words] = row[:words]
            positions.append(f(model, "text", shifted)[0])
        np.testing.assert_allclose(result, unit(np.sum(positions, axis=0)), atol=1e-5)
    left = encoder(model, "text", shifts="left")(batch["ids"]).numpy()
    np.testing.assert_allclose(left, unit(f(model, "text", batch["ids"])), atol=1e-5)
    np.testing.assert_allclose(left[3], found[3], atol=1e-5)  # a full row has only one position
    assert np.abs(left[0] - found[0]).max() > 1e-3


def test_crops_are_averaged_with_the_image(batch):
    """A crop of the centre of 6 pixels has 5, from the first on; of the corners it starts at 0 and at 1."""
    model, images = dual_path(), batch["image"]
    tower = model.get_layer("image_tower")
    starts = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0)]
    cut = [images[:, y : y + 5, x : x + 5] for y, x in starts]
    seen = [images, *(tf.image.resize(crop, (6, 6)).numpy() for crop in cut)]
    expected = keras.ops.normalize(sum(tower(view) + tower(view[:, :, ::-1]) for view in seen))
    np.testing.assert_allclose(encoder(model, "image", flip=True, crops=5)(images), expected, atol=1e-5)
    assert len(views(images, 1)) == 2 and len(views(images, 4)) == 5 and len(views(images, 0)) == 1


@pytest.mark.parametrize("flip", [False, True])
def test_feature_encoder_equals_the_encoder(batch, flip):
    model = dual_path(relu=True)
    images = [batch["image"], batch["image"][:, :, ::-1]][: 1 + flip]
    views = np.stack([parts(model)["backbone"](image, training=False).numpy() for image in images], axis=1)
    expected = encoder(model, "image", flip=flip)(batch["image"])
    np.testing.assert_allclose(feature_encoder(model, views=1 + flip)(views), expected, atol=1e-5)


def test_parts_cover_all_variables():
    model = dual_path()
    assert set(parts(model)) == {"backbone", "image_head", "text_tower", "words", "classifier"}
    covered = {id(v) for part in parts(model).values() for v in part.variables}
    assert covered == {id(v) for v in model.variables}


def test_model_without_classifier_has_no_logits_and_no_class_weights(batch):
    model, whole = dual_path(classifier="none", dropout=0.3), dual_path()
    assert set(model(batch)) == set(model.on_features.output) == {"image_embedding", "text_embedding"}
    assert set(parts(model)) == set(parts(whole)) - {"classifier"}
    assert model.count_params() == whole.count_params() - D * CLASSES
    model.set_weights(whole.get_weights()[:-1])
    np.testing.assert_array_equal(model(batch)["text_embedding"], whole(batch)["text_embedding"])


def test_logits_and_embeddings_are_float32_under_mixed_precision(batch):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = dual_path(scale=5.0)
    out = model(batch, training=False)
    assert {value.dtype for value in out.values()} == {tf.float32}
    assert f(model, "text", batch["ids"]).dtype != np.float32
    np.testing.assert_allclose(np.linalg.norm(out["image_embedding"], axis=1), 1, atol=1e-5)


def test_saved_weights_load_into_a_new_model(batch, tmp_path):
    model = dual_path()
    model.save_weights(tmp_path / "x.weights.h5")
    other = dual_path()
    for variable in other.variables:
        variable.assign(np.zeros(variable.shape))
    other.load_weights(tmp_path / "x.weights.h5")
    for name, value in model(batch, training=False).items():
        np.testing.assert_array_equal(other(batch, training=False)[name], value)


def test_weights_of_a_version_with_a_kernel_are_converted(batch, tmp_path):
    """Its classifier was a dense layer, whose kernel is [D, C]; here with as many classes as dimensions."""
    model, other = dual_path(classes=D, bias=True), dual_path(classes=D, bias=True)
    classifier = model.get_layer("classifier")
    classifier.bias.assign(np.arange(D))
    model.save_weights(tmp_path / "x.weights.h5")
    with h5py.File(tmp_path / "x.weights.h5", "a") as file:
        group = file["layers/shared_classifier/vars"]
        group["0"], group["1"] = group["class_weights"][:].T, group["bias"][:]
        del group["class_weights"], group["bias"]
    classifier.class_weights.assign(np.zeros((D, D)))
    other.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_array_equal(
        other.get_layer("classifier").class_weights, dual_path(classes=D).get_layer("classifier").class_weights
    )
    assert other.get_layer("classifier").bias.numpy().tolist() == list(range(D))
