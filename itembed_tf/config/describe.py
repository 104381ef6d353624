"""The description of every setting, for the help."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from itembed_tf.config.choices import REPLICATION
from itembed_tf.config.dump import plain, toml_value
from itembed_tf.config.key import default_of
from itembed_tf.config.losses import LOSS_SETTINGS
from itembed_tf.config.parse import limits_text, type_hints
from itembed_tf.config.schema import Config, Member, Stage

MEMBER_SECTIONS = "  image_tower, text_tower, word_vectors: tables with the settings of these sections that differ"
WIDTH, MEANINGS = 118, 30  # characters of a line; column in which the meanings start


def describe_keys(advanced: bool = False) -> str:
    """Every setting as ``name = default``, its meaning and its allowed values, section by section.

    Args:
        advanced: also the settings that only replicate published code.
    """
    lines, hints = list(_lines(Config, advanced, plain_only=True)), type_hints(Config)
    for f in dataclasses.fields(Config):
        listed = {"members": Member, "stages": Stage}
        section = listed.get(f.name, hints[f.name])
        if dataclasses.is_dataclass(section):
            head = f"[[{f.name}]]" if f.name in listed else f"[{f.name}]"
            lines += ["", f"{head}  {section.__doc__}", *_lines(section, advanced, plain_only=section is Member)]
            lines += [MEMBER_SECTIONS] if section is Member else []
    lines += ["", "losses of a stage, each a number, its weight, or a table of these settings:"]
    for names, record in _losses():
        lines += textwrap.wrap(", ".join(names), WIDTH, initial_indent="  ", subsequent_indent="  ")
        lines += [f"  {line}" for line in _lines(record, advanced)]
    return "\n".join(lines)


def _losses() -> Iterator[tuple[list[str], Any]]:
    """Each record of loss settings with the names of its losses."""
    for record in dict.fromkeys(LOSS_SETTINGS.values()):
        yield [name for name, settings in LOSS_SETTINGS.items() if settings is record], record


def _lines(section: Any, advanced: bool, plain_only: bool = False) -> Iterator[str]:
    for f in dataclasses.fields(section):
        if (plain_only and not f.metadata) or (f.metadata["advanced"] and not advanced):
            continue
        allowed = [
            " | ".join(
                str(c) for c in (*f.metadata["choices"], *f.metadata["forms"]) if advanced or c not in REPLICATION
            ),
            limits_text(f.metadata).removeprefix("must be "),
        ]
        allowed_text = "; ".join(filter(None, allowed))
        text = f.metadata["meaning"] + (f" ({allowed_text})" if allowed_text else "")
        left = f"  {f.name} = {toml_value(plain(default_of(f)))}"
        if len(left) + 2 > MEANINGS:
            yield left
            left = ""
        wrapped = textwrap.wrap(text, WIDTH - MEANINGS, break_on_hyphens=False)
        yield f"{left:{MEANINGS}}{wrapped[0]}"
        yield from (" " * MEANINGS + line for line in wrapped[1:])
