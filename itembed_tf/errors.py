"""Errors that a user can cause and repair; a command prints each as one line, ``error: ...``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can repair: the message says what was wrong, where, and what to do.

    Attributes:
        exit_code: of the command that the error ends: 1, or 2 where the command itself was wrong.
    """

    exit_code = 1


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a scheduler sends it before it takes the machine away: handled as Ctrl-C, with its own exit code."""


class UsageError(UserError):
    """A wrong command line: an argument that cannot be used."""

    exit_code = 2


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`` (did you mean 'sgd'?)`` where one of `names` is close to `name`, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
