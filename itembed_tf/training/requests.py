"""What workers ask of each other between the steps: to stop, or to save a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from itembed_tf.errors import Terminated
from itembed_tf.interruption import replaced_handlers

ASKED = ("asks to stop", "asks to save")  # names among the scalars of a distributed step


@dataclass
class Requests:
    """The requests of this worker. All workers act on one after the same step.

    Attributes:
        signal: that this worker has received, SIGINT or SIGTERM; 0 for none.
        save: whether a checkpoint is due; the chief decides.
    """

    signal: int = 0
    save: bool = False

    def as_numbers(self) -> list[float]:
        """In the order of `ASKED`."""
        return [float(bool(self.signal)), float(self.save)]

    def interrupt(self, message: str) -> KeyboardInterrupt:
        """The exception that ends this worker: of its own signal, or as SIGTERM where another worker received one."""
        kind = KeyboardInterrupt if self.signal == signal.SIGINT else Terminated
        return kind(message)


@contextmanager
def signals_as_requests(requests: Requests) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM be a request; a second one acts at once."""

    def ask(number: int, frame: Any) -> None:
        if requests.signal:
            handlers[number](number, frame)
        requests.signal = number

    with replaced_handlers(ask) as handlers:
        yield
