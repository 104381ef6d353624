"""Configuration: frozen dataclasses <-> strict TOML. A key has one name in file, dataclass and parameter list."""

from itembed_tf.config.checks import check_config, check_dataset, check_settings
from itembed_tf.config.checks_localisation import check_localisation
from itembed_tf.config.command_line import (
    OPENMOJI,
    NamedConfig,
    list_configs,
    named_config,
    resolve_config,
)
from itembed_tf.config.describe import describe_keys
from itembed_tf.config.differences import PLACES, Difference, differences, flat_settings, is_place, matters
from itembed_tf.config.dump import arguments, dump_config
from itembed_tf.config.errors import ConfigError
from itembed_tf.config.losses import DISTILLATION, HARD_NEGATIVES, LOSS_SETTINGS, Loss
from itembed_tf.config.members import distinct_backbones, frozen_backbone, member_configs
from itembed_tf.config.parse import parse_losses
from itembed_tf.config.schema import Config, Member, Stage
from itembed_tf.config.toml import load_config

__all__ = [
    "DISTILLATION",
    "HARD_NEGATIVES",
    "LOSS_SETTINGS",
    "OPENMOJI",
    "PLACES",
    "Config",
    "ConfigError",
    "Difference",
    "Loss",
    "Member",
    "NamedConfig",
    "Stage",
    "arguments",
    "check_config",
    "check_dataset",
    "check_localisation",
    "check_settings",
    "describe_keys",
    "differences",
    "distinct_backbones",
    "dump_config",
    "flat_settings",
    "frozen_backbone",
    "is_place",
    "list_configs",
    "load_config",
    "matters",
    "member_configs",
    "named_config",
    "parse_losses",
    "resolve_config",
]
