"""A table as TOML gives it -> `Config`: each key, type and value is checked."""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from itembed_tf.config.losses import FORMER_KEYS, LOSS_SETTINGS, Loss
from itembed_tf.config.refuse import refuse, refuse_name
from itembed_tf.config.schema import Config, Member, Stage
from itembed_tf.errors import did_you_mean

MAXIMUM_MEMBERS = 16


def parse_config(table: Mapping[str, Any]) -> Config:
    """The config of a table of sections; keys that are not in it have their defaults.

    Raises:
        ConfigError: unknown key, wrong type or value outside the allowed ones.
    """
    return _record(Config, table, where="")


def parse_losses(table: Mapping[str, Any], place: str = "losses") -> dict[str, Loss]:
    """Loss settings by name, from ``{"infonce": 3.0}`` (the weight) or ``{"infonce": {"weight": 3.0, ...}}``.

    Raises:
        ConfigError: unknown loss, unknown hyper-parameter, or a value outside the allowed ones.
    """
    losses = {}
    for name, value in table.items():
        if name not in LOSS_SETTINGS:
            refuse_name(f"{place}.{name}", value, "loss", name, LOSS_SETTINGS)
        settings = value if isinstance(value, Mapping) else {"weight": value}
        if isinstance(value, (str, list)):
            refuse(f"{place}.{name}", value, "expected a number, the weight, or a table such as { weight = 1.0 }")
        losses[name] = _record(LOSS_SETTINGS[name], settings, f"{place}.{name}.")
    return losses


@functools.cache
def type_hints(cls: type) -> dict[str, Any]:
    """The resolved annotations of a record."""
    return typing.get_type_hints(cls)


def _record(cls: Any, table: Mapping[str, Any], where: str) -> Any:
    fields, hints = {f.name: f for f in dataclasses.fields(cls)}, type_hints(cls)
    for name in table:
        if cls is Stage and name in FORMER_KEYS:
            losses = [loss for loss, record in LOSS_SETTINGS.items() if name in record.__dataclass_fields__]
            line = f"losses = {{ {losses[0]} = {{ weight = 1.0, {name} = {table[name]} }} }}"
            refuse(
                f"{where}{name}", table[name], f"belongs to a loss: write {line}; losses with it: {', '.join(losses)}"
            )
        if name not in fields:
            refuse_name(f"{where}{name}", table[name], "key", name, fields)
    values = {}
    for name, value in table.items():
        place, hint = f"{where}{name}", hints[name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                keys = ", ".join(f.name for f in dataclasses.fields(hint))
                refuse(place, value, f"is a section; write it as [{name}], with keys {keys}")
            values[name] = _record(hint, value, f"{place}.")
        elif name == "stages":
            if not isinstance(value, list) or not value or not all(isinstance(v, Mapping) for v in value):
                refuse(place, value, "write each stage as a table [[stages]], at least one")
            values[name] = tuple(_record(Stage, v, f"stages.{i}.") for i, v in enumerate(value))
        elif name == "members":
            continue  # below: a mistake in a section is reported where it was made
        else:
            values[name] = _value(value, hint, fields[name].metadata, place)
    if "members" in table:
        values["members"] = _members(table["members"], table)
    return cls(**values)


def _members(value: Any, table: Mapping[str, Any]) -> tuple[Member, ...]:
    """The members of an ensemble, from their number or their tables; what a table lacks is as in the whole config."""
    tables = [{}] * value if type(value) is int and 0 <= value <= MAXIMUM_MEMBERS else value
    if not isinstance(tables, list) or len(tables) > MAXIMUM_MEMBERS or not all(isinstance(v, Mapping) for v in tables):
        refuse("members", value, f"write their number, 0 to {MAXIMUM_MEMBERS}, or each as a table [[members]]")
    shared = {name: table[name] for name in (f.name for f in dataclasses.fields(Member)) if name in table}
    members = []
    for i, own in enumerate(tables):
        both = {name: {**shared[name], **own[name]} for name in own if _are_tables(shared.get(name), own[name])}
        members.append(_record(Member, {**shared, **own, **both}, f"members.{i}."))
    return tuple(members)


def _are_tables(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _value(value: Any, hint: Any, metadata: Mapping[str, Any], place: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        length = metadata["length"]
        if not isinstance(value, list) or (length and len(value) != length):
            refuse(place, value, f"expected a list{f' of {length}' if length else ''}{_allowed(metadata)}")
        return tuple(_value(item, inner[0], metadata, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            refuse(place, value, f"expected a table of numbers{_allowed(metadata)}")
        if inner[1] is Loss:
            return parse_losses(value, place)
        for name in value:
            if metadata["choices"] and name not in metadata["choices"]:
                refuse_name(f"{place}.{name}", value[name], "part", name, metadata["choices"])
        limits = {**metadata, "choices": ()}
        return {str(k): _value(v, inner[1], limits, f"{place}.{k}") for k, v in value.items()}
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        refuse(place, value, f"expected {_TYPES[hint]}{_allowed(metadata)}")
    if metadata["choices"] and value not in metadata["choices"] and not _has_form(value, metadata["forms"]):
        refuse(place, value, f"unknown value{did_you_mean(value, metadata['choices'])}{_allowed(metadata)}")
    if not _within(value, metadata):
        refuse(place, value, limits_text(metadata) or "must be finite")
    return value


_TYPES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _has_form(value: Any, forms: Sequence[str]) -> bool:
    """Whether a value is longer than the start, up to the colon, of one of the forms, and starts with it."""
    starts = [form[: form.index(":") + 1] for form in forms]
    return any(value.startswith(start) and len(value) > len(start) for start in starts)


def _allowed(metadata: Mapping[str, Any]) -> str:
    if metadata["choices"]:
        return f"; allowed: {', '.join(map(str, (*metadata['choices'], *metadata['forms'])))}"
    limits = limits_text(metadata)
    return f"; {limits}" if limits else ""


def _within(value: Any, metadata: Mapping[str, Any]) -> bool:
    minimum, maximum, above, below = (metadata[limit] for limit in ("minimum", "maximum", "above", "below"))
    return not (
        (isinstance(value, float) and not math.isfinite(value))
        or (minimum is not None and value < minimum)
        or (maximum is not None and value > maximum)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    )


def limits_text(metadata: Mapping[str, Any]) -> str:
    """The limits of a number, such as ``must be >= 0 and < 1`` or ``must be 1 to 49``, or an empty string."""
    if metadata["minimum"] is not None and metadata["maximum"] is not None:
        return f"must be {metadata['minimum']} to {metadata['maximum']}"
    signs = {"minimum": ">=", "above": ">", "maximum": "<=", "below": "<"}
    limits = [f"{sign} {metadata[name]}" for name, sign in signs.items() if metadata[name] is not None]
    return f"must be {' and '.join(limits)}" if limits else ""
