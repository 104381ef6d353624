"""The error of a config that cannot be used, and "did you mean" for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A config that cannot be used; the message names the key, the value and the allowed values."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`` (did you mean 'sgd'?)`` where one of `names` is close to `name`, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
