"""Ctrl-C and SIGTERM during training."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def replaced_handlers(handler: Callable[[int, Any], object]) -> Iterator[dict[int, Any]]:
    """Handle Ctrl-C and SIGTERM by a function within the block; yields the handlers that it replaces.

    Only handlers of Python are replaced: by default that of Ctrl-C, and that of SIGTERM where the program has set one
    (`itembed_tf.program.resumable`). Only the main thread of a process receives signals; in other threads, and in
    background processes of a shell, which ignore Ctrl-C, none is replaced.
    """
    replaced: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        replaced = {number: former for number in SIGNALS if callable(former := signal.getsignal(number))}
    for number in replaced:
        signal.signal(number, handler)
    try:
        yield replaced
    finally:
        for number, former in replaced.items():
            signal.signal(number, former)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM act after the block instead of within it, so that what it changes is consistent."""
    received: list[tuple[int, Any]] = []
    with replaced_handlers(lambda number, frame: received.append((number, frame))) as handlers:
        yield
    for number, frame in received[:1]:
        handlers[number](number, frame)
