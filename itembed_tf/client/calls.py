"""One call to a server: what is asked, how it can fail, and how often and how long it is tried."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from itembed_tf.errors import UserError

Answer = TypeVar("Answer")

FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0  # seconds
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


class ServingError(UserError, RuntimeError):
    """The server refused a call, or could not be reached.

    Attributes:
        code: gRPC's name of the kind of error, for REST too: INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE,
            RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, ...
        details: the server's own words.
    """

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self.code, self.details = code, details

    @property
    def retried(self) -> bool:
        """Whether the same call may succeed a moment later. A message above the server's limit never does."""
        return self.code in RETRIED and "larger than" not in self.details


@dataclass(frozen=True)
class Call:
    """What is asked of one model.

    Attributes:
        kind: "predict", "metadata" or "status".
        model: its name on the server.
        version, label: at most one of them; neither means the latest.
        signature, inputs: of "predict".
    """

    kind: str
    model: str
    version: int | None = None
    label: str | None = None
    signature: str = "serving_default"
    inputs: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError(f"version {self.version} and label {self.label!r}: give one of them, or neither")


def insist(attempt: Callable[[float], Answer], *, timeout: float, retries: int) -> Answer:
    """Call `attempt` with the seconds left, again after a wait while the server is busy or away.

    Args:
        timeout: seconds for everything, waits included.
        retries: further attempts after the first.

    Raises:
        ServingError: of the last attempt.
    """
    end = time.monotonic() + timeout
    for wait in waits(retries):
        try:
            return attempt(max(end - time.monotonic(), 0.001))
        except ServingError as error:
            if wait is None or not error.retried or time.monotonic() + wait >= end:
                raise
        time.sleep(wait)
    raise AssertionError("the last wait is None")


def waits(retries: int) -> Iterator[float | None]:
    """Seconds to wait after each failure, None after the last; drawn, so that clients do not come back all at once."""
    for i in range(retries):
        yield random.uniform(0.5, 1.0) * min(FIRST_WAIT * 2**i, LONGEST_WAIT)
    yield None


Metadata = dict[str, dict[str, dict[str, Any]]]  # signature -> "inputs" or "outputs" -> name -> dtype and shape
