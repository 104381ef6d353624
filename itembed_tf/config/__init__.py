"""Every setting of a run: frozen dataclasses <-> TOML. A key is spelled alike in file, dataclass and parameter list."""

from itembed_tf.config.command_line import OPENMOJI, config_parser, named_config
from itembed_tf.config.describe import describe_keys
from itembed_tf.config.dump import arguments, dump_config
from itembed_tf.config.errors import ConfigError
from itembed_tf.config.losses import HARD_NEGATIVES, LOSS_SETTINGS, Loss
from itembed_tf.config.parse import parse_losses
from itembed_tf.config.schema import Config, Stage
from itembed_tf.config.selection import check_selection
from itembed_tf.config.toml import load_config

__all__ = [
    "HARD_NEGATIVES",
    "LOSS_SETTINGS",
    "OPENMOJI",
    "Config",
    "ConfigError",
    "Loss",
    "Stage",
    "arguments",
    "check_selection",
    "config_parser",
    "describe_keys",
    "dump_config",
    "load_config",
    "named_config",
    "parse_losses",
]
