"""Which parts of the model a stage trains, and which parts a variable belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from itembed_tf.models.backbones import block_of
from itembed_tf.models.dual_path import parts
from itembed_tf.models.network import leaf_layers

LAYER_TYPES = {  # of the backbone's layers, by the name that freezes them
    "backbone_batch_norm": keras.layers.BatchNormalization,
    "backbone_depthwise": keras.layers.DepthwiseConv2D,
}


def freeze_parts(model: keras.Model, freeze: Sequence[str]) -> None:
    """Make the named parts untrainable and all others trainable; frozen batch norms keep their statistics too.

    Layers of the backbone can be frozen alone. "backbone_batch_norm" lets its convolutions be tuned on few images, or
    in small batches, without statistics that fit neither ImageNet nor the new images. "backbone_depthwise" saves time:
    these layers have few weights, and on a CPU their gradients take most of a step. "backbone.stem",
    "backbone.block1" and so on are the layers with that name prefix; gradients end at the lowest trainable layer.

    Raises:
        ValueError: an unknown part.
    """
    backbone = parts(model)["backbone"]
    check_frozen(freeze, [*parts(model), *LAYER_TYPES, *blocks_of(backbone)])
    for part, layer in parts(model).items():  # "words" comes after "text_tower", of which it is a layer
        layer.trainable = part not in freeze and not (part == "words" and "text_tower" in freeze)
    types = tuple(LAYER_TYPES[part] for part in freeze if part in LAYER_TYPES)
    # Layer by layer: setting `trainable` of a model that has this value already does not reach its layers.
    for nested in (layer for layer in backbone._flatten_layers(include_self=False) if isinstance(layer, keras.Model)):
        nested.trainable = backbone.trainable
    for layer in leaf_layers(backbone):
        layer.trainable = backbone.trainable and f"backbone.{block_of(layer.name)}" not in freeze
        for each in layer._flatten_layers():  # a transformer block, for example, has layers of its own
            if isinstance(each, types):
                each.trainable = False


def blocks_of(backbone: keras.Model) -> list[str]:
    """The blocks of a backbone that can be frozen, as "backbone.block1", from input to output."""
    return list(dict.fromkeys(f"backbone.{block_of(layer.name)}" for layer in leaf_layers(backbone) if layer.weights))


def check_frozen(freeze: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError for a part that is not one of `known`."""
    for part in freeze:
        if part not in known:
            raise ValueError(f"freeze: {part!r} is not one of {', '.join(known)}")


def part_names(model: keras.Model) -> Callable[[keras.Variable], list[str]]:
    """A function from a variable to all parts it belongs to, for learning-rate multipliers.

    Beside the parts of `itembed_tf.models.dual_path.parts`: "gamma" and "beta" of all batch norms, "backbone_gamma",
    "first_convolution" and "classifier_bias".
    """
    names: dict[int, list[str]] = {}
    for part, layer in parts(model).items():
        for variable in layer.variables:
            names.setdefault(id(variable), []).append(part)
            if variable.name in ("gamma", "beta"):
                names[id(variable)].append(variable.name)
            if (part, variable.name) in (("backbone", "gamma"), ("classifier", "bias")):
                names[id(variable)].append(f"{part}_{variable.name}")
    first = next((v for v in parts(model)["backbone"].trainable_variables if v.name == "kernel"), None)
    if first is not None:
        names[id(first)].append("first_convolution")
    return lambda variable: list(dict.fromkeys(names.get(id(variable), [])))
