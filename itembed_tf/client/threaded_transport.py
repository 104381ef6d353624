"""A blocking transport for use with asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

from itembed_tf.client.calls import Call
from itembed_tf.client.transports import Transport


class ThreadedTransport:
    """Runs every call of a blocking transport in a thread."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        return await asyncio.to_thread(self._transport.send, call, timeout)

    async def close(self) -> None:
        """Close all connections."""
        self._transport.close()
