"""TOML files, each over its base -> `Config`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itembed_tf.config.dump import plain
from itembed_tf.config.errors import ConfigError
from itembed_tf.config.losses import FORMER_KEYS, LOSS_SETTINGS
from itembed_tf.config.overrides import apply_override
from itembed_tf.config.parse import parse_config
from itembed_tf.config.schema import DEFAULT_STAGES, Config
from itembed_tf.errors import did_you_mean
from itembed_tf.files import shipped_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_config(path: str | Path | None = None, overrides: Sequence[str] = (), *, text: str = "") -> Config:
    """Read a TOML file (None: `text`, or the defaults) and apply ``section.key=value`` overrides, values in TOML.

    A file may begin with ``base = "other.toml"``, a path relative to the file, or ``base = "photos"``, the name of a
    shipped config: it then lists only what differs from that one. Sections are merged key by key; so are stages of the
    same name, and other stages are appended.

    Raises:
        ConfigError: unknown key, wrong type or bad value, naming the key, the value and the allowed values.
    """
    table = tomllib.loads(text) if path is None else _read(Path(path))
    for override in overrides:
        apply_override(table, override)
    return parse_config(table)


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The table of a file merged over that of its base; `above` are the files that it is the base of."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        user = f", the base of {above[-1]}" if above else ""
        raise ConfigError(f"{path}: no such config file{user}{_similar(path)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}; repair it, or restore the file from a copy") from None
    _move_former_keys(table)
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise ConfigError(
            f'{path}: base: expected the name of another config, for example "flickr8k.toml", got {base!r}'
        )
    below = path.parent / base if base.endswith(".toml") else shipped_folder("configs") / f"{base}.toml"
    if any(below.resolve() == file.resolve() for file in (*above, path)):
        raise ConfigError(f"{path}: base = {base!r} leads back to {below}")
    return _merged(_read(below, (*above, path)), table, path)


def _similar(path: Path) -> str:
    """Config files of the same folder with a similar name, and how to list the shipped configs."""
    files = [file.name for file in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    return f"{did_you_mean(path.name, files)}; `itembed configs` lists the shipped configs, which can be named"


def _move_former_keys(table: dict[str, Any]) -> None:
    """Move margin, temperature, top and label_smoothing of a stage into its losses, in place.

    Only where a stage has all four, as in the config.toml of a run of an earlier version. A config with some of them
    was written by someone, and is refused with where they belong (`parse_config`).
    """
    stages = table.get("stages")
    for stage in stages if isinstance(stages, list) else []:
        losses = stage.get("losses") if isinstance(stage, dict) else None
        if not isinstance(losses, dict) or any(key not in stage for key in FORMER_KEYS):
            continue
        former = {key: stage.pop(key) for key in FORMER_KEYS}
        for name, weight in losses.items():
            record = LOSS_SETTINGS.get(name)
            if record is not None and not isinstance(weight, dict):
                own = {key: value for key, value in former.items() if key in record.__dataclass_fields__}
                losses[name] = {"weight": weight, **own}


def _merged(base: dict[str, Any], changes: dict[str, Any], path: Path) -> dict[str, Any]:
    """`base` updated by `changes`; a value replaces the other as a whole, also where it is a table."""
    table = dict(base)
    for name, value in changes.items():
        if name == "stages" and isinstance(value, list):
            stages = _by_name(base.get("stages", plain(DEFAULT_STAGES)), path)
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
            f"{path}: over a base, stages are matched by name: give each [[stages]] a name, different from the others, "
            "in both files"
        )
    return named
