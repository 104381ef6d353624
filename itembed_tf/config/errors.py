"""The error of a config that cannot be used."""

from __future__ import annotations

from itembed_tf.errors import UsageError


class ConfigError(UsageError, ValueError):
    """A config that cannot be used; the message names the key, the value and the allowed values."""
