"""The dual-path model: image tower, text tower and a shared classifier for the instance loss; its encoders."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from itembed_tf.models.classifier import SharedClassifier
from itembed_tf.models.dropout import BatchDropout
from itembed_tf.models.memory import memory_of
from itembed_tf.models.per_model import once_per_model

CROP_SIDE = 0.86


def dual_path_model(
    image_tower: keras.Model,
    text_tower: keras.Model,
    *,
    classes: int,
    classifier: str,
    scale: float,
    bias: bool,
    dropout: float,
    relu: bool,
    start: str,
    softmax: str,
    sampled_classes: int,
    shards: int = 1,
) -> keras.Model:
    """Build the dual-path model for training: inputs ``image`` [B, S, S, 3] and ``ids`` [B, L].

    Outputs, all float32: ``image_embedding`` and ``text_embedding`` [B, D], unit length, for the ranking losses;
    ``image_logits`` and ``text_logits`` [B, classes], after dropout, for the instance loss. With `relu` all outputs are
    computed from ReLU(f), as in the released code. The layers "image_tower", "text_tower" and "classifier" are nested
    models and layers of the result.

    Its attribute ``on_features`` is a model of the same layers for cached features: input ``image_features`` [B, F]
    (output of the frozen backbone) in place of ``image``, and, where the text tower has fixed sentence features,
    ``text_features`` [B, F] in place of ``ids``.

    With `softmax` "sampled" there is one more input, ``drawn`` int32 [K]: classes in ascending order. The logits are
    those of these classes alone, [B, K], and the gradient of the class weights has only their rows. The number of
    classes to draw is the attribute ``sampled`` of the classifier. "auto" is "full": a run replaces it by its choice
    (`itembed_tf.training.class_memory`), and an earlier version has left it out. With "sharded" and `shards` replicas,
    each has the rows of its share of the classes: see `itembed_tf.models.classifier.SharedClassifier`.

    An "imprinted" classifier starts at zero: call `itembed_tf.models.imprinting.imprint` before training.
    Without a classifier ("none") there are no logits, as in the two-branch network. With `start` "cca" both heads
    must be linear: see `itembed_tf.training.initialisation.start_weights`.

    Raises:
        ValueError: `start` is "cca" and a head is not linear.
    """
    if start == "cca":
        _check_linear(image_tower, text_tower)
    # The released code draws W from its uniform fan-in rule, times 0.1; the fan-in is D, the second dimension.
    first = keras.initializers.VarianceScaling(0.01, "fan_out", "uniform") if classifier == "random" else "zeros"
    sampled = sampled_classes if softmax == "sampled" else 0
    drawn = {"drawn": keras.Input((), name="drawn", dtype="int32")} if sampled and classifier != "none" else {}
    shared = {
        "relu": layers.ReLU(name="embedding_relu") if relu else None,
        "unit": layers.UnitNormalization(name="unit", dtype="float32"),
        "dropout": BatchDropout(dropout, name="dropout") if dropout else None,
        "classifier": SharedClassifier(
            classes,
            image_tower.output.shape[-1],
            scale,
            bias,
            initializer=first,
            sampled=sampled,
            shards=shards if softmax == "sharded" else 1,
            name="classifier",
        )
        if classifier != "none"
        else None,
    }
    ids = text_tower.input
    image = image_tower.input
    outputs = _outputs(text_tower(ids), image_tower(image), drawn, shared)
    model = keras.Model({"image": image, "ids": ids} | drawn, outputs, name="dual_path")
    head = image_tower.get_layer("image_head")
    features = keras.Input(head.input.shape[1:], name="image_features")
    inputs, text = {"image_features": features, "ids": ids}, text_tower(ids)
    if sentence_features(model) is not None:
        text_head = text_tower.get_layer("text_head")
        text_features = keras.Input(text_head.input.shape[1:], name="text_features")
        inputs, text = {"image_features": features, "text_features": text_features}, text_head(text_features)
    model.on_features = keras.Model(inputs | drawn, _outputs(text, head(features), drawn, shared))
    return model


def _check_linear(image_tower: keras.Model, text_tower: keras.Model) -> None:
    """Refuse towers whose heads CCA cannot initialise: each must be one "fc" layer on fixed features."""
    heads = [layer for layer in (*image_tower.layers, *text_tower.layers) if "_head" in layer.name]
    layers_with_weights = {head.name: sum(bool(layer.weights) for layer in head.layers) for head in heads}
    if layers_with_weights != {"image_head": 1, "text_head": 1}:
        raise ValueError(
            'model.start = "cca" needs linear heads on fixed features: set text_tower.variant = "features", '
            'text_tower.head = "fc" and image_tower.head = "fc", or model.start = "random"'
        )


def sentence_features(model: keras.Model) -> keras.Model | None:
    """The fitted, never trained part of the text tower; None where the text tower has a trainable word table."""
    text_layers = model.get_layer("text_tower").layers
    return next((layer for layer in text_layers if layer.name == "sentence_features"), None)


def _outputs(text: Any, image: Any, drawn: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Embeddings and, with a classifier, logits of both branches, from the outputs of their heads."""
    branches = {"text": text, "image": image}
    if shared["relu"]:
        branches = {side: shared["relu"](f) for side, f in branches.items()}
    embeddings = {f"{side}_embedding": shared["unit"](f) for side, f in branches.items()}
    if not shared["classifier"]:
        return embeddings
    if shared["dropout"]:
        branches = {side: shared["dropout"](f) for side, f in branches.items()}
    logits = shared["classifier"](branches, **drawn)
    return embeddings | {f"{side}_logits": logits[side] for side in branches}


def parts(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The parts that a stage can freeze or give a learning-rate multiplier, by their names in the config.

    A model without a trainable word table has no "words", a model without a classifier no "classifier".
    """
    image, text = model.get_layer("image_tower"), model.get_layer("text_tower")
    named = {"backbone": image.get_layer("backbone"), "image_head": image.get_layer("image_head"), "text_tower": text}
    for name, owner in (("words", text), ("classifier", model)):
        named |= {layer.name: layer for layer in owner.layers if layer.name == name}
    return named


@once_per_model
def encoder(model: keras.Model, side: str, *, flip: bool = False, crops: int = 0, shifts: str = "left") -> keras.Model:
    """Image or text encoder: one tower and unit normalisation, float32 [B, D], without the last ReLU (released code).

    The text encoder of a model with a memory (`itembed_tf.models.memory`) ends in it. The same arguments give the same
    encoder.

    Args:
        model: the dual-path model.
        side: "image", input [B, S, S, 3] in 0..255; or "text", input left-aligned ids int32 [B, L].
        flip: image: sum of f of the image and of its mirror image (paper section 6.2).
        crops: image: sum of f over the image and this number of `views` of it.
        shifts: text: "left", or "all": sum of f over all positions at which the caption fits (released code).
    """
    tower = model.get_layer(f"{side}_tower")
    x = keras.Input(tower.input.shape[1:], dtype=tower.input.dtype, name=tower.input.name)
    if side == "text":
        f = over_all_shifts(tower, x) if shifts == "all" else tower(x)
    else:
        f = sum(tower(view) + tower(ops.flip(view, axis=2)) if flip else tower(view) for view in views(x, crops))
    embedding = layers.UnitNormalization(dtype="float32", name="embedding")(f)
    memory = memory_of(model) if side == "text" else None
    return keras.Model(x, memory(embedding) if memory else embedding, name=f"{side}_encoder")


def views(images: Any, crops: int) -> list[Any]:
    """Images [B, S, S, 3] and crops of them, resized to S: 0, 1 (the centre), 4 (the corners) or 5 (all of these).

    A crop has `CROP_SIDE` of each side: 74 % of the area, as an average crop of the training.
    """
    size = images.shape[1]
    side = round(CROP_SIDE * size)
    far, middle = size - side, (size - side) // 2
    corners = [(0, 0), (0, far), (far, 0), (far, far)]
    places = (corners if crops >= 4 else []) + ([(middle, middle)] if crops in (1, 5) else [])
    cut = [images[:, top : top + side, left : left + side] for top, left in places]
    return [images, *(ops.image.resize(crop, (size, size), interpolation="bilinear") for crop in cut)]


def project_encoder(side: keras.Model, axes: np.ndarray) -> keras.Model:
    """An encoder with its embeddings projected on the PCA axes [D, d], then normalised to unit length again."""
    projection = layers.Dense(axes.shape[1], use_bias=False, dtype="float32", name="pca")
    embedding = layers.UnitNormalization(dtype="float32", name="pca_embedding")(projection(side.output))
    projection.set_weights([axes])
    return keras.Model(side.input, embedding, name=side.name)


@once_per_model
def feature_encoder(model: keras.Model, views: int) -> keras.Model:
    """The image encoder on cached features [B, views, F]: the sum of f over the views, unit length."""
    head = parts(model)["image_head"]
    x = keras.Input((views, head.input.shape[-1]), name="features")
    f = sum(head(x[:, view]) for view in range(views))
    return keras.Model(x, layers.UnitNormalization(dtype="float32", name="embedding")(f), name="feature_encoder")


def over_all_shifts(tower: keras.Model, ids: Any) -> Any:
    """Sum of the outputs of a text tower over all positions at which each text fits: ids [B, L] -> [B, F]."""
    length = tower.input.shape[1]
    place, start = np.arange(length), np.arange(length)[:, None]
    source = np.where(place >= start, place - start, length)  # [start, place]; `length` is the pad appended below
    padded = ops.pad(ids, ((0, 0), (0, 1)))
    rows = ops.reshape(ops.take(padded, source.reshape(-1), axis=1), (-1, length))  # [B * L, L]
    f = ops.reshape(tower(rows), (-1, length, tower.output.shape[-1]))
    words = ops.sum(ops.cast(ops.not_equal(ids, 0), "int32"), axis=1, keepdims=True)
    fits = ops.cast(ops.less_equal(np.arange(length)[None], length - words), f.dtype)  # [B, L]
    return ops.sum(f * ops.expand_dims(fits, -1), axis=1)
