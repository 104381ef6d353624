"""Every setting of a run: frozen dataclasses <-> TOML. A key is spelled alike in file, dataclass and parameter list."""

from itembed_tf.config.command_line import OPENMOJI, config_parser, named_config
from itembed_tf.config.schema import Config, Stage
from itembed_tf.config.selection import check_selection
from itembed_tf.config.toml import ConfigError, arguments, describe_keys, dump_config, load_config

__all__ = [
    "OPENMOJI",
    "Config",
    "ConfigError",
    "Stage",
    "arguments",
    "check_selection",
    "config_parser",
    "describe_keys",
    "dump_config",
    "load_config",
    "named_config",
]
