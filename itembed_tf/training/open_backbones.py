"""The check of a run's backbones before any data is read, and their layers, which the run keeps."""

from __future__ import annotations

from typing import Any

from itembed_tf.config import Config, member_configs
from itembed_tf.config.backbone_forms import kind_of
from itembed_tf.data.feature_file import feature_width
from itembed_tf.models.architecture import architecture_of, feature_backbone
from itembed_tf.models.backbones import build_backbone, five_crop_size, join_levels
from itembed_tf.training.building import building
from itembed_tf.training.freezing import blocks_of, check_frozen


def architecture_key(config: Config) -> str:
    """By which a run keeps the layers of the backbone of a config without members."""
    tower = config.image_tower
    return f"{tower.features or tower.backbone} {tower.pixels} {config.image.size}"


def check_backbones(config: Config) -> dict[str, Any]:
    """Build every backbone of an open form once, and check its pixels, levels and frozen blocks with it.

    Returns:
        Their layers by `architecture_key`, for the run to keep; empty where the name of a backbone says them.

    Raises:
        BackboneError, ValueError: what is wrong, and what is allowed.
    """
    kept: dict[str, Any] = {}
    for each in member_configs(config):
        kept |= _checked(each)
    return kept


def _checked(config: Config) -> dict[str, Any]:
    tower, size, key = config.image_tower, config.image.size, architecture_key(config)
    if tower.features:
        return {key: architecture_of(feature_backbone(feature_width(tower.features)))}
    kind = kind_of(tower.backbone)
    if not kind:
        return {}
    with building("float32", config.seed):
        side = five_crop_size(size) if tower.crops == 5 else size
        # The weights of a file or preset are read: its pixels are checked with them.
        weights = "none" if kind == "keras" else tower.weights
        backbone = build_backbone(tower.backbone, weights=weights, size=side, pixels=tower.pixels)
        kept = {} if kind == "keras" else {key: architecture_of(backbone)}
        backbone = join_levels(backbone, tower.levels) if tower.levels else backbone
    for stage in config.stages:
        check_frozen([part for part in stage.freeze if part.startswith("backbone.")], blocks_of(backbone))
    return kept
