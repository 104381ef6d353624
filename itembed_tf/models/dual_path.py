"""Two towers and, for the instance loss, one shared classifier make the model; `encoder` takes one side out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops


class SharedClassifier(layers.Dense):
    """The one classifier of both towers: W^T f (+ b), paper eq. 5-8; with `scale` s, s * cos(w, f) of each class.

    Weights [D, C] and logits are float32 under every precision: a softmax over 100,000 classes needs it.
    """

    def __init__(self, classes: int, scale: float, bias: bool, **kwargs: Any):
        super().__init__(classes, use_bias=bias, dtype="float32", **kwargs)
        self.scale = scale

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not self.scale:
            return super().call(inputs)
        cosine = ops.matmul(ops.normalize(inputs), ops.normalize(self.kernel, axis=0))
        return self.scale * cosine + (self.bias if self.use_bias else 0.0)


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
) -> keras.Model:
    """The model that is trained: inputs ``image`` [B, S, S, 3] and ``ids`` [B, L].

    Outputs, all float32: ``image_embedding`` and ``text_embedding`` [B, D] of unit length for the ranking losses,
    ``image_logits`` and ``text_logits`` [B, classes] for the instance loss (behind dropout). With `relu` all of them
    see ReLU(f), as in the released code. The layers "image_tower", "text_tower" and "classifier" can be taken out.

    An "imprinted" classifier starts at zero: call `imprint` before training. With "none" there are neither a classifier
    nor logits: the two-branch network. With `start` "cca" both heads are to become linear maps: see
    `itembed_tf.training.initialisation.start_weights`.

    Raises:
        ValueError: a start by CCA, and heads that are no linear maps of fixed features.
    """
    if start == "cca":
        _check_linear(image_tower, text_tower)
    # The released code draws W from its uniform fan-in rule, times 0.1.
    first = keras.initializers.VarianceScaling(0.01, "fan_in", "uniform") if classifier == "random" else "zeros"
    shared = {
        "relu": layers.ReLU(name="embedding_relu") if relu else None,
        "unit": layers.UnitNormalization(name="unit", dtype="float32"),
        "dropout": layers.Dropout(dropout, name="dropout") if dropout else None,
        "classifier": SharedClassifier(classes, scale, bias, kernel_initializer=first, name="classifier")
        if classifier != "none"
        else None,
    }
    ids = text_tower.input
    outputs = _branch(text_tower(ids), "text", shared)
    image = image_tower.input
    model = keras.Model(
        {"image": image, "ids": ids}, outputs | _branch(image_tower(image), "image", shared), name="dual_path"
    )
    # The same layers fed with the frozen backbone's features in place of pictures, and where the text tower has its
    # "sentence_features" with those in place of ids: what cached features train.
    head = image_tower.get_layer("image_head")
    features = keras.Input(head.input.shape[1:], name="image")
    if sentence_features(model) is not None:
        text_head = text_tower.get_layer("text_head")
        ids = keras.Input(text_head.input.shape[1:], name="ids")
        outputs = _branch(text_head(ids), "text", shared)
    model.on_features = keras.Model({"image": features, "ids": ids}, outputs | _branch(head(features), "image", shared))
    return model


def _check_linear(image_tower: keras.Model, text_tower: keras.Model) -> None:
    """Refuse towers of which CCA can give no head: each must be one "fc" on features that stay as they are."""
    heads = [*image_tower.layers, *text_tower.layers]
    found = {head.name: sum(bool(layer.weights) for layer in head.layers) for head in heads if "_head" in head.name}
    if found != {"image_head": 1, "text_head": 1}:
        raise ValueError(
            'model.start = "cca" sets linear maps of features that stay as they are: set text_tower.variant = '
            '"features", text_tower.head = "fc" and image_tower.head = "fc", or model.start = "random"'
        )


def sentence_features(model: keras.Model) -> keras.Model | None:
    """The part of the text tower that is fitted and never trained; None where ids go into a word table that learns."""
    layers_of_text = model.get_layer("text_tower").layers
    return next((layer for layer in layers_of_text if layer.name == "sentence_features"), None)


def _branch(f: Any, side: str, shared: dict[str, Any]) -> dict[str, Any]:
    f = shared["relu"](f) if shared["relu"] else f
    embedding = {f"{side}_embedding": shared["unit"](f)}
    if not shared["classifier"]:
        return embedding
    dropped = shared["dropout"](f) if shared["dropout"] else f
    return embedding | {f"{side}_logits": shared["classifier"](dropped)}


def parts(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The parts that a stage can freeze or give a learning rate of their own, by their names in the config.

    A model without a word table that learns has no "words", one without a classifier no "classifier".
    """
    image, text = model.get_layer("image_tower"), model.get_layer("text_tower")
    found = {"backbone": image.get_layer("backbone"), "image_head": image.get_layer("image_head"), "text_tower": text}
    for name, owner in (("words", text), ("classifier", model)):
        found |= {layer.name: layer for layer in owner.layers if layer.name == name}
    return found


def imprint(model: keras.Model, features: np.ndarray, labels: np.ndarray, *, batch_size: int = 1024) -> None:
    """Start every class weight as the image head's own unit feature of that class's pictures.

    The text tower then learns codes that mean something from the first step on; a random classifier makes it
    memorise arbitrary ones (docs/small_data.md). The head runs with batch statistics: its own have seen nothing yet.

    Args:
        model: the dual-path model.
        features: of the backbone, [n, F].
        labels: their classes, [n].
        batch_size: pictures at a time, about: all batches are alike, as a batch of one or two has no statistics.

    Raises:
        ValueError: classes without a picture.
    """
    classifier, head = model.get_layer("classifier"), parts(model)["image_head"]
    has_relu = any(layer.name == "embedding_relu" for layer in model.layers)
    total = np.zeros(tuple(reversed(classifier.kernel.shape)), np.float32)  # [C, D]
    for rows in np.array_split(np.arange(len(labels)), -(-len(labels) // batch_size)):
        f = ops.cast(head(ops.convert_to_tensor(features[rows]), training=True), "float32")
        unit = ops.normalize(ops.relu(f) if has_relu else f)
        np.add.at(total, labels[rows], ops.convert_to_numpy(unit))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    if not (length > 0).all():
        raise ValueError(f"classes without a picture to imprint: {np.flatnonzero(length[:, 0] == 0)[:10].tolist()}")
    classifier.kernel.assign((total / length).T)


def encoder(model: keras.Model, side: str, *, flip: bool = False, shifts: str = "left") -> keras.Model:
    """One side as an encoder to unit length float32 [B, D], from f before any last ReLU (released test scripts).

    Args:
        model: the dual-path model.
        side: "image", input [B, S, S, 3] in 0..255; or "text", input left-aligned ids int32 [B, L].
        flip: image: f of the picture plus f of its mirror image, then unit length (paper section 6.2).
        shifts: text: "left", or "all": the sum of f over every place where the sentence fits (released code).
    """
    tower = model.get_layer(f"{side}_tower")
    x = keras.Input(tower.input.shape[1:], dtype=tower.input.dtype, name=tower.input.name)
    if side == "text":
        f = _over_all_shifts(tower, x) if shifts == "all" else tower(x)
    else:
        f = tower(x) + tower(ops.flip(x, axis=2)) if flip else tower(x)
    return keras.Model(x, layers.UnitNormalization(dtype="float32", name="embedding")(f), name=f"{side}_encoder")


def project_encoder(side: keras.Model, axes: np.ndarray) -> keras.Model:
    """An encoder with its embeddings projected on the PCA axes [D, d], then normalised to unit length again."""
    projection = layers.Dense(axes.shape[1], use_bias=False, dtype="float32", name="pca")
    embedding = layers.UnitNormalization(dtype="float32", name="pca_embedding")(projection(side.output))
    projection.set_weights([axes])
    return keras.Model(side.input, embedding, name=side.name)


def feature_encoder(model: keras.Model, views: int) -> keras.Model:
    """The image encoder on cached features [B, views, F]: the views' f are summed, then brought to unit length."""
    head = parts(model)["image_head"]
    x = keras.Input((views, head.input.shape[-1]), name="features")
    f = sum(head(x[:, view]) for view in range(views))
    return keras.Model(x, layers.UnitNormalization(dtype="float32", name="embedding")(f), name="feature_encoder")


def _over_all_shifts(tower: keras.Model, ids: Any) -> Any:
    length = tower.input.shape[1]
    place, start = np.arange(length), np.arange(length)[:, None]
    source = np.where(place >= start, place - start, length)  # [start, place]; `length` is the pad appended below
    padded = ops.pad(ids, ((0, 0), (0, 1)))
    rows = ops.reshape(ops.take(padded, source.reshape(-1), axis=1), (-1, length))  # [B * L, L]
    f = ops.reshape(tower(rows), (-1, length, tower.output.shape[-1]))
    words = ops.sum(ops.cast(ops.not_equal(ids, 0), "int32"), axis=1, keepdims=True)
    fits = ops.cast(ops.less_equal(np.arange(length)[None], length - words), f.dtype)  # [B, L]
    return ops.sum(f * ops.expand_dims(fits, -1), axis=1)
