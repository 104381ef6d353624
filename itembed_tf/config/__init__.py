"""Every setting of a run: frozen dataclasses <-> TOML. A key is spelled alike in file, dataclass and parameter list."""

from itembed_tf.config.schema import Config, Stage
from itembed_tf.config.toml import ConfigError, arguments, describe_keys, dump_config, load_config

__all__ = ["Config", "ConfigError", "Stage", "arguments", "describe_keys", "dump_config", "load_config"]
