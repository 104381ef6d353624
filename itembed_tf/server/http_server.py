"""HTTP/1.1 with bounds: sizes, times and connections; what a request means is the handler's matter."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import h11

from itembed_tf.server.limits import Limits

HEAD_BYTES = 32 * 1024
HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 10.0, 60.0, 60.0  # for a request's head, its body; between two requests
LINGER_SECONDS = 5.0  # for the rest of a request that was refused before it had come whole
Handler = Callable[[str, str, bytes], Awaitable[tuple[int, str, bytes]]]  # method, path, body -> status, type, body


class HttpServer:
    """Serves `handle` until it is closed; half-open and slow connections are cut off, not kept."""

    def __init__(self, handle: Handler, limits: Limits) -> None:
        self._handle, self._limits = handle, limits
        self._connections: set[asyncio.Task[Any]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._too_many: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which 0 leaves to the system."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=2**18)
        return self._server.sockets[0].getsockname()[1]

    async def close(self, grace: float) -> None:
        """No new connection; requests under way get `grace` seconds."""
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
            # The other side is gone, silent or in no state to be answered: there is no one to tell.
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.TimeoutError, h11.LocalProtocolError):
                await self._requests(connection, reader, writer, task)
        finally:
            self._connections.discard(task)
            self._busy.discard(task)
            self._too_many.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _requests(
        self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: Any
    ) -> None:
        most = self._limits.max_calls
        if len(self._connections) - len(self._too_many) > most:
            self._too_many.add(task)
            if len(self._too_many) <= most:  # a flood is closed without a word
                words = f"{most} connections are open already; try again in a moment"
                await _refuse(connection, reader, writer, 503, words, "GET")
            return
        wait = HEAD_SECONDS
        while await self._one(connection, reader, writer, wait, task):
            wait = IDLE_SECONDS

    async def _one(
        self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait: float, task: Any
    ) -> bool:
        """One request and its answer; False where the connection cannot carry another."""
        method = "GET"
        try:
            request = await asyncio.wait_for(_event(connection, reader), wait)
            if isinstance(request, h11.ConnectionClosed):
                return False
            self._busy.add(task)
            method = request.method.decode("ascii")
            body = await asyncio.wait_for(self._body(connection, reader, writer, request), BODY_SECONDS)
        except h11.RemoteProtocolError as error:
            return await _refuse(connection, reader, writer, error.error_status_hint, str(error), method)
        if body is None:
            words = f"the body is larger than {self._limits.max_message} bytes, the most that is taken"
            return await _refuse(connection, reader, writer, 413, words, method)
        status, kind, answer = await self._handle(method, request.target.decode("ascii", "replace"), body)
        await asyncio.wait_for(_send(connection, writer, status, kind, answer, method), BODY_SECONDS)
        self._busy.discard(task)
        if connection.our_state is h11.MUST_CLOSE or connection.their_state is not h11.DONE:
            return False
        connection.start_next_cycle()
        return True

    async def _body(
        self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any
    ) -> bytes | None:
        """The whole body, None where it is larger than allowed; a length that says so is believed."""
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


async def _refuse(
    connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, words: str, method: str
) -> bool:
    """Answer a request that is still being sent, and take the rest of it: a system that closes a connection with
    unread bytes resets it, and the other side would lose the answer with it. Returns False: nothing can follow."""
    await _send(connection, writer, status, "application/json", _error(words), method)
    if writer.can_write_eof():
        writer.write_eof()
    await asyncio.wait_for(_discard(reader), LINGER_SECONDS)
    return False


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(2**18):
        pass


async def _send(
    connection: Any, writer: asyncio.StreamWriter, status: int, kind: str, body: bytes, method: str
) -> None:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    if connection.their_state not in (h11.DONE, h11.MUST_CLOSE):
        headers.append(("Connection", "close"))  # the request did not come whole, and nothing can follow it
    if status in (429, 503):
        headers.append(("Retry-After", "1"))
    data = connection.send(h11.Response(status_code=status, headers=headers)) or b""
    if method != "HEAD":
        data += connection.send(h11.Data(data=body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    writer.write(data)
    await writer.drain()


def _error(message: str) -> bytes:
    return json.dumps({"error": message}).encode()
