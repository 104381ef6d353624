"""`Config` -> TOML text that `load_config` reads back to an equal config."""

from __future__ import annotations

import dataclasses
from typing import Any

from itembed_tf.config.schema import Config


def arguments(section: Any) -> dict[str, Any]:
    """The fields of a record as keyword arguments."""
    return {f.name: getattr(section, f.name) for f in dataclasses.fields(section)}


def plain(value: Any) -> Any:
    """A value as a TOML reader gives it: tables and lists in place of records and tuples."""
    if dataclasses.is_dataclass(value):
        return {name: plain(item) for name, item in arguments(value).items()}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def dump_config(config: Config) -> str:
    """Every setting as TOML: one line per key, tables below ``[[members]]`` and ``[[stages]]`` inline."""
    table = plain(config)
    stages, members = table.pop("stages"), table.pop("members")
    sections = {name: value for name, value in table.items() if isinstance(value, dict)}
    lines = _lines({name: value for name, value in table.items() if name not in sections})
    for name, section in sections.items():
        lines += ["", f"[{name}]", *_lines(section)]
    for name, tables in (("members", members), ("stages", stages)):
        for each in tables:
            lines += ["", f"[[{name}]]", *_lines(each)]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A value in TOML on one line; tables are inline tables."""
    import tomli_w

    if isinstance(value, dict):
        items = ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{name} = {toml_value(value)}" for name, value in table.items()]
