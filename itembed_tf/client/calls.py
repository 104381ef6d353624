"""Calls to a server, their errors, and retries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Integral
from typing import NamedTuple, TypeVar

import numpy as np

from itembed_tf.errors import UserError
from itembed_tf.export_layout import DEFAULT_SIGNATURE

Response = TypeVar("Response")

FIRST_DELAY, MAX_DELAY = 0.05, 2.0  # seconds before the first retry, and before any
RETRIED_CODES = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


class ServingError(UserError, RuntimeError):
    """A call failed, or the server could not be reached.

    Attributes:
        code: name of the gRPC status code, for REST too: INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE,
            RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, ...
        details: the server's message.
    """

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self.code, self.details = code, details

    @property
    def retried(self) -> bool:
        """Whether a retry can succeed. A message above the server's size limit is not retried."""
        return self.code in RETRIED_CODES and "larger than" not in self.details


@dataclass(frozen=True)
class Call:
    """A call to one model.

    Attributes:
        kind: "predict", "metadata", "version" (the number of the version that answers) or "status".
        model: name of the model.
        version, label: at most one of them; the newest version if both are None.
        signature: for "predict".
        inputs: arrays by name, for "predict".
    """

    kind: str
    model: str
    version: int | None = None
    label: str | None = None
    signature: str = DEFAULT_SIGNATURE
    inputs: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError(f"version {self.version} and label {self.label!r} are both given; give at most one")
        if self.version is not None and (isinstance(self.version, bool) or not isinstance(self.version, Integral)):
            raise ValueError(f"version is {self.version!r}; it must be a whole number")
        if self.label is not None and not isinstance(self.label, str):
            raise ValueError(f"label is {self.label!r}; it must be a string")


class Prediction(NamedTuple):
    """Answer to a predict call.

    Attributes:
        outputs: arrays by name.
        version: number of the version that answered; None from a REST server that does not say (TF Serving).
        contract: its contract hash; "" from a server that does not say (TF Serving).
    """

    outputs: dict[str, np.ndarray]
    version: int | None = None
    contract: str = ""


@dataclass(frozen=True)
class TensorInfo:
    """Type of an input or output.

    Attributes:
        dtype: NumPy name; "object" for strings.
        shape: -1 for any size.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a signature, by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


def check_settings(timeout: float, retries: int) -> None:
    """Raise ValueError for settings of a client that are not numbers, or out of range."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise ValueError(f"timeout is {timeout!r}; it must be a number of seconds above 0")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries is {retries!r}; it must be a whole number, 0 or more")


def call_with_retries(attempt: Callable[[float], Response], *, timeout: float, retries: int) -> Response:
    """Call `attempt(seconds left)`, and retry with exponential backoff while the server is busy or unreachable.

    Args:
        attempt: one attempt; raises ServingError.
        timeout: seconds for all attempts and delays.
        retries: maximum number of retries.

    Raises:
        ServingError: of the last attempt.
    """
    end = time.monotonic() + timeout
    for delay in retry_delays(retries):
        try:
            return attempt(max(end - time.monotonic(), 0.001))
        except ServingError as error:
            if delay is None or not error.retried or time.monotonic() + delay >= end:
                raise
        time.sleep(delay)
    raise AssertionError("the last delay is None")


def retry_delays(retries: int) -> Iterator[float | None]:
    """Seconds to wait after each failed attempt, None after the last; random, so that clients do not retry in step."""
    for i in range(retries):
        yield random.uniform(0.5, 1.0) * min(FIRST_DELAY * 2**i, MAX_DELAY)
    yield None
