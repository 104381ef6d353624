"""``--set section.key=value``: one override applied to the table of a config."""

from __future__ import annotations

import sys
from typing import Any

from itembed_tf.config.dump import plain
from itembed_tf.config.errors import ConfigError
from itembed_tf.config.schema import DEFAULT_STAGES, Stage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set one value in `table`, in place. The value is TOML; a bare word is a string.

    ``stages.0.losses.infonce=2.0`` sets the weight of a loss and keeps its other settings;
    ``stages.0.losses.infonce.temperature=0.1`` sets one of them.

    Raises:
        ConfigError: the override has no ``=``, or leads into a value or a stage that does not exist.
    """
    name, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: expected section.key=value, for example --set model.scale=10.0")
    *path, last = name.strip().split(".")
    here: Any = table
    for depth, part in enumerate(path):
        here = _child(here, path[:depth], part, override)
    if not isinstance(here, dict):
        raise ConfigError(f"--set {override}: name one by its number, for example --set {path[0]}.0.{last}=...")
    value, before = _value(text), here.get(last)
    if _are_losses(path) and isinstance(before, dict) and not isinstance(value, dict):
        value = {**before, "weight": value}
    here[last] = value


def _child(here: Any, path: list[str], part: str, override: str) -> Any:
    """The table or list at `path` + `part`, made where the file does not have it."""
    if isinstance(here, list):
        if not part.isdigit() or int(part) >= len(here):
            known = f"{path[0]} 0 to {len(here) - 1}" if here else f"no {path[0]}"
            raise ConfigError(f"--set {override}: {path[0]}.{part}: this config has {known}")
        child = here[int(part)]
    elif _are_losses(path):
        child = here.get(part, {})
        child = here[part] = child if isinstance(child, dict) else {"weight": child}
    else:
        defaults: Any = {}
        if [*path, part] == ["stages"]:
            defaults = plain(DEFAULT_STAGES)
        elif _are_losses([*path, part]):
            defaults = plain(Stage().losses)
        child = here.setdefault(part, defaults)
        if [*path, part] == ["members"] and type(child) is int:  # `members = 3`: three tables without a difference
            child = here[part] = [{} for _ in range(child)]
    if not isinstance(child, (dict, list)):
        raise ConfigError(f"--set {override}: {'.'.join([*path, part])} is a value, not a section")
    return child


def _are_losses(path: list[str]) -> bool:
    return len(path) == 3 and path[0] == "stages" and path[2] == "losses"


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()  # so that shells need no second pair of quotes
