"""An ensemble: the embeddings of several dual-path models side by side, as one pair of towers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from itembed_tf.models.dual_path import parts

PROJECTION = "projection"


def ensemble_model(members: Sequence[keras.Model], backbone_of: Sequence[int], *, embedding_size: int) -> keras.Model:
    """Build a dual-path model whose towers hold those of its members: inputs ``image`` [B, S, S, 3] and ``ids`` [B, L].

    Each tower gives the unit embeddings of the members side by side, multiplied by one matrix that both towers share,
    of PCA (`project_ensemble`): every member counts alike, and the dot product of two embeddings is the mean cosine of
    the members where the matrix keeps all dimensions. The outputs ``image_embedding`` and ``text_embedding`` [B,
    embedding_size] have unit length. There is no classifier: the members are trained one by one.

    The layers "image_tower" and "text_tower", and in the former "backbone" and "image_head", are as in
    `itembed_tf.models.dual_path.dual_path_model`, so that encoders, cached features and exports need to know nothing of
    members. With several backbones, their features are side by side.

    Args:
        members: dual-path models with one input size, one vocabulary and one caption length.
        backbone_of: for each member the number of its backbone, counted from 0 in order of appearance. Members with one
            number use the backbone of the first of them.
        embedding_size: dimensions of the result, at most those of all members together.
    """
    projection = new_projection(embedding_size)
    unit = layers.UnitNormalization(name="unit", dtype="float32")
    image_tower = _image_tower(members, backbone_of, projection)
    text_tower = joined_text_tower([member.get_layer("text_tower") for member in members], projection)
    outputs = {
        "image_embedding": unit(image_tower(image_tower.input)),
        "text_embedding": unit(text_tower(text_tower.input)),
    }
    return keras.Model({"image": image_tower.input, "ids": text_tower.input}, outputs, name="dual_path")


def _image_tower(members: Sequence[keras.Model], backbone_of: Sequence[int], projection: layers.Dense) -> keras.Model:
    image = members[0].get_layer("image_tower").input
    backbone = _joined_backbones(
        [parts(members[backbone_of.index(n)])["backbone"] for n in range(max(backbone_of) + 1)]
    )
    widths = [parts(member)["image_head"].input.shape[-1] for member in members]
    ends = np.cumsum([widths[backbone_of.index(n)] for n in range(max(backbone_of) + 1)]).tolist()
    features = keras.Input((ends[-1],), name="features")
    embeddings = []
    for number, (member, of, width) in enumerate(zip(members, backbone_of, widths)):
        head = _renamed(parts(member)["image_head"], f"image_head_{number + 1}")
        embeddings.append(_unit(head(features[:, ends[of] - width : ends[of]]), f"image_unit_{number + 1}"))
    image_head = keras.Model(features, projection(_joined(embeddings)), name="image_head")
    return keras.Model(image, image_head(backbone(image)), name="image_tower")


def joined_text_tower(towers: Sequence[keras.Model], projection: layers.Dense) -> keras.Model:
    """The model "text_tower" of an ensemble from those of its members: ids [B, L] -> [B, units of the projection]."""
    ids = towers[0].input
    named = [_renamed(tower, f"text_tower_{number}") for number, tower in enumerate(towers, start=1)]
    embeddings = [_unit(tower(ids), f"text_unit_{number}") for number, tower in enumerate(named, start=1)]
    return keras.Model(ids, projection(_joined(embeddings)), name="text_tower")


def new_projection(embedding_size: int) -> layers.Dense:
    """The matrix that both towers of an ensemble end in, at random."""
    return layers.Dense(embedding_size, use_bias=False, dtype="float32", name=PROJECTION)


def _joined_backbones(backbones: Sequence[keras.Model]) -> keras.Model:
    """One model "backbone" with the features of all, side by side; its layers "backbone_1", ... are the single ones."""
    if len(backbones) == 1:
        return backbones[0]
    image = backbones[0].input
    named = [_renamed(backbone, f"backbone_{number}") for number, backbone in enumerate(backbones, start=1)]
    return keras.Model(image, ops.concatenate([backbone(image) for backbone in named], axis=-1), name="backbone")


def single_backbones(model: keras.Model) -> list[keras.Model]:
    """The backbones of an ensemble, or of a dual-path model, each with the name "backbone"."""
    joined = parts(model)["backbone"]
    single = [layer for layer in joined.layers if layer.name.startswith("backbone_") and isinstance(layer, keras.Model)]
    return [_renamed(backbone, "backbone") for backbone in single] or [joined]


def project_ensemble(model: keras.Model, axes: np.ndarray) -> None:
    """Give an ensemble the PCA axes of its members' embeddings side by side, float32 [total, embedding_size]."""
    model.get_layer("text_tower").get_layer(PROJECTION).set_weights([axes])


def _joined(embeddings: Sequence[Any]) -> Any:
    return ops.concatenate(embeddings, axis=-1) if len(embeddings) > 1 else embeddings[0]


def _unit(f: Any, name: str) -> Any:
    return layers.UnitNormalization(name=name, dtype="float32")(f)


def _renamed(model: keras.Model, name: str) -> keras.Model:
    """The same layers as a model of another name: layers of one model need different names."""
    return keras.Model(model.input, model.output, name=name)
