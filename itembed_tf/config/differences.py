"""The settings in which two configs differ, and those that a run may change while it is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from itembed_tf.config.dump import plain, toml_value
from itembed_tf.config.schema import Config

PLACES = ("dataset.root", "dataset.shards", "dataset.images")  # settings that say where the data is
# Settings with which the weights and figures of a run are the same, but for rounding.
WITHOUT_EFFECT = re.compile(
    r"evaluation\.batch_size|card\.\w+|loggers|determinism|stages\.\d+\.(checkpoint_minutes|checkpoints)"
)
EXACT = {'"full"', '"sharded"'}  # softmaxes with the same loss and weights
ABSENT = "absent"


class Difference(NamedTuple):
    """A setting that two configs have differently: its key as --set takes it, and both values in TOML."""

    key: str
    before: str
    now: str


def differences(before: Config, now: Config) -> list[Difference]:
    """The settings that differ, in the order of their keys; what one config lacks has the value "absent"."""
    one, other = dict(flat_settings(before)), dict(flat_settings(now))
    return [
        Difference(key, one.get(key, ABSENT), other.get(key, ABSENT))
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def is_place(difference: Difference) -> bool:
    """Whether the setting says where the data is: it may be moved, and is checked to be the same."""
    return difference.key in PLACES


def matters(difference: Difference) -> bool:
    """Whether another value of the setting is another run."""
    if difference.key == "model.softmax" and {difference.before, difference.now} == EXACT:
        return False
    return not WITHOUT_EFFECT.fullmatch(difference.key)


def flat_settings(config: Config) -> Iterator[tuple[str, str]]:
    """Every setting of a config: its key as --set takes it, and its value in TOML."""
    return _flat(plain(config))


def _flat(value: Any, above: str = "") -> Iterator[tuple[str, str]]:
    items: Any = {}
    if isinstance(value, dict):
        items = value
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = dict(enumerate(value))
    if not items:
        yield above, toml_value(value)
    for name, item in items.items():
        yield from _flat(item, f"{above}.{name}" if above else str(name))
