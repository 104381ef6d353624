"""A setting as a dataclass field: its default, its meaning and its allowed values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, field
from typing import Any


def key(
    default: Any,
    meaning: str,
    *,
    choices: Sequence[str | int] = (),
    forms: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    length: int | None = None,
    advanced: bool = False,
) -> Any:
    """A documented setting.

    Args:
        default: of the field.
        meaning: one line for the help.
        choices: the only allowed values; of a list or table, those of its items.
        forms: values that are allowed beside the choices, each by what it starts with and what follows, such as
            "file:MODEL.keras".
        minimum, maximum: inclusive limits of a number, or of the numbers in a list or table.
        above, below: exclusive limits, likewise.
        length: the only allowed number of items in a list.
        advanced: needed only to replicate published code; not in the default help.
    """
    metadata = {
        "meaning": meaning,
        "choices": tuple(choices),
        "forms": tuple(forms),
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "length": length,
        "advanced": advanced,
    }
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(f: Field[Any]) -> Any:
    """The default of a field that `key` has made."""
    if f.default is not MISSING:
        return f.default
    assert f.default_factory is not MISSING
    return f.default_factory()
