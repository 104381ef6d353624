"""Every setting of a run: frozen dataclasses <-> TOML. A key is spelled alike in file, dataclass and parameter list."""

from pathlib import Path

from itembed_tf.config.schema import Config, Stage
from itembed_tf.config.selection import check_selection
from itembed_tf.config.toml import ConfigError, arguments, describe_keys, dump_config, load_config

OPENMOJI = Path(__file__).with_name("openmoji.toml")  # what is trained when no config is named

__all__ = [
    "OPENMOJI",
    "Config",
    "ConfigError",
    "Stage",
    "arguments",
    "check_selection",
    "describe_keys",
    "dump_config",
    "load_config",
]
