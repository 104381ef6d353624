"""A blocking transport for use with asyncio."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from itembed_tf.client.calls import Call
from itembed_tf.client.transports import Transport

MAX_THREADS = 64  # of one client; asyncio's own pool has a few more than cores, and is shared with the whole program


class ThreadedTransport:
    """Runs every call of a blocking transport in a thread."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="itembed-client")

    async def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._transport.send, call, timeout)

    async def close(self) -> None:
        """Close all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._transport.close()
