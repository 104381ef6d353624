"""HTTP/1.1 server with limits on sizes, times and connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import h11

from itembed_tf.server.limits import Limits

HEAD_BYTES = 32 * 1024
# Timeouts for the headers of a request, for its body, and between two requests of a connection.
HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 10.0, 60.0, 60.0
LINGER_SECONDS = 5.0  # for reading the rest of a request that was rejected before it was complete
# method, path, body -> status, content type, body
Handler = Callable[[str, str, bytes], Awaitable[tuple[int, str, bytes]]]


class HttpServer:
    """Calls `handle` for every request; closes half-open and slow connections."""

    def __init__(self, handle: Handler, limits: Limits) -> None:
        self._handle, self._limits = handle, limits
        self._connections: set[asyncio.Task[Any]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._rejected: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Start to listen; returns the port, which the system chooses for 0."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=2**18)
        return self._server.sockets[0].getsockname()[1]

    async def close(self, grace: float) -> None:
        """Stop to listen, and give running requests `grace` seconds."""
        self._server.close()
        for task in self._connections - self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy, timeout=grace)
        for task in self._connections:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        try:
            # The client is gone, too slow, or in a state in which no response can be sent.
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.TimeoutError, h11.LocalProtocolError):
                await self._requests(connection, reader, writer, task)
        finally:
            self._connections.discard(task)
            self._busy.discard(task)
            self._rejected.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _requests(
        self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: Any
    ) -> None:
        maximum = self._limits.max_calls
        if len(self._connections) - len(self._rejected) > maximum:
            self._rejected.add(task)
            if len(self._rejected) <= maximum:  # beyond that, connections are closed without a response
                message = f"{maximum} connections are open, the maximum; retry later"
                await _reject(connection, reader, writer, 503, message, "GET")
            return
        timeout = HEAD_SECONDS
        while await self._request(connection, reader, writer, timeout, task):
            timeout = IDLE_SECONDS

    async def _request(
        self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float, task: Any
    ) -> bool:
        """Serve one request; returns whether the connection can be reused."""
        method = "GET"
        try:
            request = await asyncio.wait_for(_event(connection, reader), timeout)
            if isinstance(request, h11.ConnectionClosed):
                return False
            self._busy.add(task)
            method = request.method.decode("ascii")
            body = await asyncio.wait_for(self._body(connection, reader, writer, request), BODY_SECONDS)
        except h11.RemoteProtocolError as error:
            return await _reject(connection, reader, writer, error.error_status_hint, str(error), method)
        if body is None:
            message = f"the body is larger than the maximum of {self._limits.max_message} bytes"
            return await _reject(connection, reader, writer, 413, message, method)
        status, content_type, content = await self._handle(method, request.target.decode("ascii", "replace"), body)
        await asyncio.wait_for(_send(connection, writer, status, content_type, content, method), BODY_SECONDS)
        self._busy.discard(task)
        if connection.our_state is h11.MUST_CLOSE or connection.their_state is not h11.DONE:
            return False
        connection.start_next_cycle()
        return True

    async def _body(
        self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any
    ) -> bytes | None:
        """The body, or None if it is larger than ``max_message``; Content-Length is checked before anything is read."""
        length = dict(request.headers).get(b"content-length", b"0")
        if len(length) > 18 or int(length) > self._limits.max_message:
            return None
        if connection.they_are_waiting_for_100_continue:
            writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
        parts, size = [], 0
        while not isinstance(event := await _event(connection, reader), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionError
            size += len(event.data)
            if size > self._limits.max_message:
                return None
            parts.append(bytes(event.data))
        return b"".join(parts)


async def _event(connection: Any, reader: asyncio.StreamReader) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(2**18))
    return event


async def _reject(
    connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, message: str, method: str
) -> bool:
    """Send an error while the request is still being sent, then read the rest of the request.

    Closing a connection with unread bytes resets it, and the client would lose the response. Returns False: the
    connection cannot be reused.
    """
    content = json.dumps({"error": message}).encode()
    await _send(connection, writer, status, "application/json", content, method)
    if writer.can_write_eof():
        writer.write_eof()
    await asyncio.wait_for(_discard(reader), LINGER_SECONDS)
    return False


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(2**18):
        pass


async def _send(
    connection: Any, writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes, method: str
) -> None:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    if connection.their_state not in (h11.DONE, h11.MUST_CLOSE):
        headers.append(("Connection", "close"))  # the request is incomplete, so the connection cannot be reused
    if status in (429, 503):
        headers.append(("Retry-After", "1"))
    data = connection.send(h11.Response(status_code=status, headers=headers)) or b""
    if method != "HEAD":
        data += connection.send(h11.Data(data=body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    writer.write(data)
    await writer.drain()
