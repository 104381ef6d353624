"""The description of every setting, for ``--help``."""

from __future__ import annotations

import dataclasses
from typing import Any

from itembed_tf.config.dump import plain, toml_value
from itembed_tf.config.parse import type_hints
from itembed_tf.config.schema import Config, Stage


def describe_keys() -> str:
    """Every key with its default and meaning."""
    lines = []
    for f in dataclasses.fields(Config):
        section = f.type if isinstance(f.type, type) else type_hints(Config)[f.name]
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
    return f"  {f.name} = {toml_value(plain(default))}  {f.metadata['meaning']}{choices}"
