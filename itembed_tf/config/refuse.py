"""What the checks of a config share: the refusal of a setting, and of settings that would be ignored."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from itembed_tf.config.dump import plain, toml_value
from itembed_tf.config.errors import ConfigError
from itembed_tf.config.key import default_of
from itembed_tf.errors import did_you_mean


def refuse(key: str, value: Any, why: str) -> NoReturn:
    """Raise a ConfigError that names the key, its value and what to write instead."""
    raise ConfigError(f"{key} = {toml_value(plain(value))}: {why}")


def refuse_name(key: str, value: Any, what: str, name: str, allowed: Iterable[str]) -> NoReturn:
    """Refuse a `key` that ends in an unknown `name`, and list the allowed names."""
    names = list(allowed)
    refuse(key, value, f"unknown {what}{did_you_mean(name, names)}; allowed: {', '.join(names)}")


def refuse_choice(key: str, value: Any, name: str, allowed: Sequence[str], what: str = "is not allowed") -> NoReturn:
    """Refuse `name`, one item of `value`, and list the allowed ones."""
    refuse(key, value, f"{name!r} {what}{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}")


def refuse_ignored(section: str, record: Any, keys: Sequence[str], why: str) -> None:
    """Refuse those of `keys` whose value is not the default, as nothing would read it.

    Args:
        section: name of `record` in the config.
        record: a section.
        keys: of the record.
        why: when they have an effect, for example "only with schedule = \\"steps\\"".
    """
    fields = {f.name: f for f in dataclasses.fields(record)}
    for key in keys:
        value, default = getattr(record, key), default_of(fields[key])
        if value != default:
            refuse(f"{section}.{key}", value, f"would be ignored: {why}. Leave it at {toml_value(plain(default))}")
