"""TOML <-> `Config`, strict at the door: an unknown key, wrong type or bad value stops at once and says what may be."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from itembed_tf.config.schema import DEFAULT_STAGES, Config, Stage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class ConfigError(ValueError):
    """A config that cannot be used; the message names the key, the value and what is allowed."""


def arguments(section: Any) -> dict[str, Any]:
    """A section as the keyword arguments of the function that it feeds."""
    return {f.name: getattr(section, f.name) for f in dataclasses.fields(section)}


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file (None: the defaults) and apply ``section.key=value`` overrides, values in TOML.

    A file may begin with ``base = "other.toml"``, named from where it lies itself: it then lists only what differs from
    that one. Sections are merged key by key; so are stages of the same name, and others come after them.

    Raises:
        ConfigError: unknown key, wrong type or bad value, naming the key, the value and the choices.
    """
    table = {} if path is None else _read(Path(path))
    for override in overrides:
        _apply_override(table, override)
    return _build(Config, table, where="")


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The table of a file, over that of its base; `above` are the files that it is the base of."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        asked = f", the base of {above[-1]}" if above else "; configs/ holds those that come with the project"
        raise ConfigError(f"{path}: no such config file{asked}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise ConfigError(
            f'{path}: base: expected the name of another config, for example "flickr8k.toml", got {base!r}'
        )
    below = path.parent / base
    if any(below.resolve() == file.resolve() for file in (*above, path)):
        raise ConfigError(f"{path}: base = {base!r} leads back to {below}")
    return _merged(_read(below, (*above, path)), table, path)


def _merged(base: dict[str, Any], changes: dict[str, Any], path: Path) -> dict[str, Any]:
    """`base` with what `changes` says otherwise; a value replaces the other whole, also one that is a table."""
    table = dict(base)
    for name, value in changes.items():
        if name == "stages" and isinstance(value, list):
            stages = _by_name(base.get("stages", _plain(DEFAULT_STAGES)), path)
            for new, stage in _by_name(value, path).items():
                stages[new] = {**stages.get(new, {}), **stage}
            table[name] = list(stages.values())
        else:
            both = isinstance(value, dict) and isinstance(base.get(name), dict)
            table[name] = {**base[name], **value} if both else value
    return table


def _by_name(stages: Any, path: Path) -> dict[str, dict[str, Any]]:
    named = {str(stage["name"]): dict(stage) for stage in stages if isinstance(stage, Mapping) and "name" in stage}
    if len(named) < len(stages):
        raise ConfigError(
            f"{path}: over a base, stages are told by their names: give each [[stages]] its own, there too"
        )
    return named


def dump_config(config: Config) -> str:
    """The resolved config as TOML text that `load_config` reads back to an equal Config."""
    return tomli_w.dumps(_plain(config))


def describe_keys() -> str:
    """Every key with its default and meaning, for ``--help``."""
    lines = []
    for f in dataclasses.fields(Config):
        section = f.type if isinstance(f.type, type) else _hints(Config)[f.name]
        if f.name == "stages":
            lines += ["", "[[stages]]  one table a stage, in order; keyword arguments of " + Stage.feeds]
            lines += _key_lines(Stage)
        elif dataclasses.is_dataclass(section):
            lines += ["", f"[{f.name}]  keyword arguments of {section.feeds}"]  # type: ignore[attr-defined]
            lines += _key_lines(section)
        else:
            lines += [_key_line(f)]
    return "\n".join(lines)


def _key_lines(section: Any) -> list[str]:
    return [_key_line(f) for f in dataclasses.fields(section)]


def _key_line(f: dataclasses.Field[Any]) -> str:
    default = f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[operator, misc]
    choices = f" ({' | '.join(map(str, f.metadata['choices']))})" if f.metadata["choices"] else ""
    return f"  {f.name} = {_toml_value(default)}  {f.metadata['meaning']}{choices}"


def _toml_value(value: Any) -> str:
    text = tomli_w.dumps({"v": _plain(value)}, multiline_strings=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {v}" for k, v in value.items()) + "}"
    return " ".join(text.removeprefix("v = ").split()).replace("[ ", "[").replace(", ]", "]")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {name: _plain(item) for name, item in arguments(value).items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _apply_override(table: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: expected section.key=value, for example --set model.scale=10.0")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is taken as a string, so that shells need no second pair of quotes
    *path, last = name.strip().split(".")
    here: Any = table
    for depth, part in enumerate(path):
        if part == "stages":
            here = here.setdefault(part, _plain(DEFAULT_STAGES))
        elif isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise ConfigError(f"--set {override}: stages.{part}: this config has stages 0 to {len(here) - 1}")
            here = here[int(part)]
        else:
            here = here.setdefault(part, {})
        if not isinstance(here, (dict, list)):
            raise ConfigError(f"--set {override}: {'.'.join(path[: depth + 1])} is a value, not a section")
    if not isinstance(here, dict):
        raise ConfigError(f"--set {override}: name the stage by its number, for example --set stages.0.{last}=...")
    here[last] = parsed


def _build(cls: Any, table: Mapping[str, Any], where: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = _hints(cls)
    for name in table:
        if name not in fields:
            raise ConfigError(f"{where}{name}: unknown key; allowed here: {', '.join(fields)}")
    values = {}
    for name, value in table.items():
        place, hint = f"{where}{name}", hints[name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{place}: is a section, so write it as [{name}]; got {value!r}")
            values[name] = _build(hint, value, f"{place}.")
        elif name == "stages":
            if not isinstance(value, list) or not value or not all(isinstance(v, Mapping) for v in value):
                raise ConfigError("stages: write each stage as a table [[stages]], at least one")
            values[name] = tuple(_build(Stage, v, f"stages.{i}.") for i, v in enumerate(value))
        else:
            values[name] = _check(value, hint, fields[name].metadata, place)
    return cls(**values)


def _check(value: Any, hint: Any, metadata: Mapping[str, Any], place: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{place}: expected a list, got {value!r}")
        return tuple(
            _check(item, inner[0], {**metadata, "least": None}, f"{place}[{i}]") for i, item in enumerate(value)
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{place}: expected a table of numbers, got {value!r}")
        return {str(k): _check(v, inner[1], metadata, f"{place}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{place}: expected {_type_name(hint)}, got {value!r}")
    if metadata.get("choices") and value not in metadata["choices"]:
        raise ConfigError(f"{place}: {value!r} is not one of {', '.join(map(str, metadata['choices']))}")
    if metadata.get("least") is not None and not value >= metadata["least"]:
        raise ConfigError(f"{place}: {value!r} is below the least allowed, {metadata['least']}")
    return value


def _type_name(hint: Any) -> str:
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(hint, hint.__name__ if isinstance(hint, (type, types.GenericAlias)) else str(hint))
