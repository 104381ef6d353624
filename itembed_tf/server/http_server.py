"""HTTP/1.1 server with limits on sizes, times, connections and memory."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from collections.abc import Awaitable, Callable
from typing import Any

import h11

from itembed_tf.server.http_messages import HttpRequest, HttpResponse
from itembed_tf.server.limits import Limits

HEAD_BYTES = 32 * 1024
# Timeouts for the headers of a request, for its body, and between two requests of a connection.
HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 10.0, 60.0, 60.0
# For reading what a client still sends: after a request that was rejected before it was complete, and at shutdown.
LINGER_SECONDS, CLOSING_SECONDS = 5.0, 1.0
READ_BYTES = 2**18
SMALL_BODY = 2**16  # bytes of a body that is received however full the memory for bodies is
FREE_CHUNKS, CHUNK_BYTES = 1000, 64  # chunks of any size, and the mean size of a chunk where there are more
_REASONS = {status.value: status.phrase for status in http.HTTPStatus} | {499: "Client Closed Request"}
Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class Rejected(Exception):
    """A request that is answered before it is complete; the connection cannot be reused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    def response(self) -> HttpResponse:
        return HttpResponse(self.status, json.dumps({"error": self.message}).encode())


class HttpServer:
    """Calls `handle` for every request; closes half-open and slow connections."""

    def __init__(self, handle: Handler, limits: Limits) -> None:
        self._handle, self._limits = handle, limits
        self._connections: set[asyncio.Task[Any]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._rejected: set[asyncio.Task[Any]] = set()
        self._body_bytes = 0  # of all requests that are being received or answered
        self._closing = False

    async def start(self, host: str, port: int, *, share_port: bool = False) -> int:
        """Start to listen; returns the port, which the system chooses for 0. `share_port`: other processes do too."""
        reuse = share_port or None  # False is an error on Windows
        self._server = await asyncio.start_server(self._connected, host, port, limit=READ_BYTES, reuse_port=reuse)
        return self._server.sockets[0].getsockname()[1]

    async def close(self, grace: float) -> None:
        """Stop to listen, close idle connections, and give running requests `grace` seconds."""
        self._closing = True
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
            await self._requests(connection, reader, writer, task)
        except (asyncio.CancelledError, OSError, asyncio.TimeoutError, h11.LocalProtocolError) as error:
            # The client is gone, too slow, or in a state in which no response can be sent. The frames of the traceback
            # would keep the buffers of the connection until the garbage collector runs.
            error.__traceback__ = None
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
                await _send(connection, writer, Rejected(503, message).response(), "GET", last=True)
                await _finish(reader, writer, LINGER_SECONDS)
            return
        timeout = HEAD_SECONDS
        while await self._request(connection, reader, writer, timeout, task):
            timeout = IDLE_SECONDS
            await asyncio.sleep(0)  # requests that are already received must not keep others waiting

    async def _request(
        self, connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float, task: Any
    ) -> bool:
        """Serve one request; returns whether the connection can be reused."""
        method, body, response = "GET", bytearray(), None
        try:
            request = await asyncio.wait_for(_event(connection, reader), timeout)
            if isinstance(request, h11.ConnectionClosed):
                return False
            self._busy.add(task)
            method = request.method.decode("ascii")
            headers = dict(request.headers)
            _check_head(request, headers)
            await asyncio.wait_for(self._receive(connection, reader, writer, headers, body), BODY_SECONDS)
            texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
            target = request.target.decode("ascii", "replace")
            encoding = texts.get("content-encoding", "").lower()
            response = await self._handle(HttpRequest(method, target, body, encoding, texts))
        except h11.RemoteProtocolError as error:
            rejected = Rejected(error.error_status_hint, str(error))
        except Rejected as error:
            rejected = Rejected(error.status, error.message)  # without a traceback, which would refer to this frame
        finally:
            self._body_bytes -= len(body)
            # The traceback of an error keeps the body until the garbage collector runs. A thread may still read it.
            with contextlib.suppress(BufferError):
                body.clear()
        if response is None:
            await _send(connection, writer, rejected.response(), method, last=True)
            await _finish(reader, writer, LINGER_SECONDS)
            return False
        last = self._closing
        await asyncio.wait_for(_send(connection, writer, response, method, last=last), BODY_SECONDS)
        if last:
            await _finish(reader, writer, CLOSING_SECONDS)
        self._busy.discard(task)
        if last or connection.our_state is h11.MUST_CLOSE or connection.their_state is not h11.DONE:
            return False
        connection.start_next_cycle()
        return True

    async def _receive(
        self,
        connection: Any,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: dict[bytes, bytes],
        body: bytearray,
    ) -> None:
        """Receive the body; Content-Length is checked before anything is read.

        Raises:
            Rejected: it is larger than ``max_message``, or in too small chunks, or there is no memory left for it.
        """
        length = headers.get(b"content-length", b"0")
        if len(length) > 18 or int(length) > self._limits.max_message:
            raise Rejected(413, f"the body is larger than the maximum of {self._limits.max_message} bytes")
        if connection.they_are_waiting_for_100_continue:
            writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
        chunks = 0
        while not isinstance(event := await _event(connection, reader), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionError
            chunks += 1
            size = len(body) + len(event.data)
            if size > self._limits.max_message:
                raise Rejected(413, f"the body is larger than the maximum of {self._limits.max_message} bytes")
            if chunks > FREE_CHUNKS and size < CHUNK_BYTES * chunks:
                raise Rejected(400, f"the body has {chunks} chunks of less than {CHUNK_BYTES} bytes; send larger ones")
            if size > SMALL_BODY and self._body_bytes + len(event.data) > self._limits.max_waiting:
                raise Rejected(503, f"requests of {self._body_bytes:,} bytes are being received; retry later")
            body += event.data
            self._body_bytes += len(event.data)
            if chunks % 64 == 0:
                await asyncio.sleep(0)  # the next chunks may already be received


def _check_head(request: Any, headers: dict[bytes, bytes]) -> None:
    if b"transfer-encoding" in headers and b"content-length" in headers:
        # Servers and proxies that disagree on which one counts see different requests: request smuggling.
        raise Rejected(400, "Content-Length and Transfer-Encoding must not both be given")
    if b"transfer-encoding" in headers and request.http_version != b"1.1":
        raise Rejected(400, "Transfer-Encoding needs HTTP/1.1")
    if request.http_version not in (b"1.0", b"1.1"):
        raise Rejected(400, f"HTTP/{request.http_version.decode('ascii')} is not supported, only HTTP/1.1")
    if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise Rejected(417, "only 100-continue can be expected")


async def _event(connection: Any, reader: asyncio.StreamReader) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(READ_BYTES))
    return event


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """End a connection after its last response: read what the client still sends, until it closes or for `seconds`.

    Closing a connection with unread bytes resets it, and the client would lose the response.
    """
    if writer.can_write_eof():
        writer.write_eof()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_discard(reader), seconds)


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(READ_BYTES):
        pass


async def _send(
    connection: Any, writer: asyncio.StreamWriter, response: HttpResponse, method: str, *, last: bool
) -> None:
    length = ("Content-Length", str(len(response.body)))
    headers = [("Content-Type", response.content_type), length, *response.headers]
    if last:
        headers.append(("Connection", "close"))
    if response.status in (429, 503):
        headers.append(("Retry-After", "1"))
    reason = _REASONS.get(response.status, "")
    head = h11.Response(status_code=response.status, headers=headers, reason=reason.encode("ascii"))
    data = connection.send(head) or b""
    if method != "HEAD":
        data += connection.send(h11.Data(data=response.body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    writer.write(data)
    await writer.drain()
