"""The socket between a worker and its supervisor, which is the worker's standard input.

The worker writes one line when it is ready. It shuts down when the socket is closed: then the supervisor has ended.
"""

from __future__ import annotations

import asyncio
import os

_STDIN = 0
READY = b"ready\n"


def announce_ready() -> None:
    """Tell the supervisor that this worker answers requests."""
    os.write(_STDIN, READY)


def stop_with_supervisor(stop: asyncio.Event) -> None:
    """Set `stop` when the supervisor ends, in whatever way."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            ended = not os.read(_STDIN, 1)
        except OSError:
            ended = True
        if ended:
            loop.remove_reader(_STDIN)
            stop.set()

    loop.add_reader(_STDIN, read)
