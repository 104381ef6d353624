"""Ctrl-C and SIGTERM during training."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM act after the block instead of within it, so that what it changes is consistent.

    Only a handler of Python is delayed: by default that of Ctrl-C, and that of SIGTERM where the program has set one
    (`itembed_tf.program.resumable`). Only the main thread of a process receives signals; in other threads, and in
    background processes of a shell, which ignore Ctrl-C, the block is run as it is.
    """
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    delayed = {number: handler for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        delayed = {}
    received: list[tuple[int, Any]] = []

    def remember(number: int, frame: Any) -> None:
        received.append((number, frame))

    for number in delayed:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in delayed.items():
            signal.signal(number, handler)
    for first, frame in received[:1]:
        delayed[signal.Signals(first)](first, frame)
