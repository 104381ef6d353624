"""The choices of the config and the code that implements them are the same."""

from __future__ import annotations

import pytest

from itembed_tf.config import choices
from itembed_tf.config.backbones import BACKBONES
from itembed_tf.data import readers
from itembed_tf.evaluation.protocols import PROTOCOLS
from itembed_tf.models import backbones, text_tower
from itembed_tf.training import freezing

# Networks with few layers to build; those of a family follow one rule.
REAL = [("efficientnet-lite0", 32), ("efficientnet-lite2", 32), ("resnet50", 32), ("vgg16", 32)]


def test_the_implementations_have_the_names_of_the_choices():
    assert set(readers.DATASETS) == set(choices.DATASETS)
    assert {*text_tower.VARIANTS, "features"} == set(choices.TEXT_VARIANTS)
    assert set(backbones.BACKBONES) == set(BACKBONES)
    assert tuple(freezing.LAYER_TYPES) == choices.FROZEN_LAYERS
    assert tuple(PROTOCOLS) == choices.PROTOCOLS


@pytest.mark.parametrize(("name", "size"), REAL)
def test_levels_and_blocks_are_those_of_the_real_backbone(name, size):
    real, known = backbones.build_backbone(name, weights="none", size=size), BACKBONES[name]
    maps = [layer.name for layer in real.layers if len(layer.output.shape) == 4]
    assert set(known.layers) == set(maps)
    assert list(known.blocks) == list(dict.fromkeys(layer.name.split("_")[0] for layer in real.layers if layer.weights))
    assert known.features == real.output_shape[-1]
    deep = backbones.join_levels(real, known.levels)
    assert deep.output_shape[-1] > 0


def test_blocks_above_the_last_level_cannot_be_frozen():
    real = backbones.build_backbone("efficientnet-lite0", weights="none", size=32)
    for levels in (["block3"], ["block2_1_expand", "block5"], ["stem"]):
        joined = backbones.join_levels(real, levels)
        blocks = dict.fromkeys(layer.name.split("_")[0] for layer in joined.layers if layer.weights)
        assert tuple(blocks) == BACKBONES["efficientnet-lite0"].freezable(levels)
