"""A setting as a dataclass field: its default, what it means and which values it may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def key(default: Any, meaning: str, *, choices: Sequence[str | int] = (), least: float | None = None) -> Any:
    """A documented setting: its default, its meaning for ``--help``, and what values it may take."""
    metadata = {"meaning": meaning, "choices": tuple(choices), "least": least}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)
