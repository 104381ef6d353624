"""Load on a gRPC server, of requests encoded before: each client is one HTTP/2 connection with one call at a time.

A client of grpcio costs as much CPU time for a call as its server, which the server lacks where both share the cores.
This one writes and reads the frames of HTTP/2 itself (RFC 9113) and checks no more than that each call has an answer.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from functools import partial

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_WINDOW = 2**31 - 1  # for all answers of a connection


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str, authority: str) -> bytes:
    """Headers of a gRPC call, in HPACK without compression (RFC 7541)."""
    block = b"\x83\x86"  # method POST, scheme http
    named = {":path": path, ":authority": authority, "content-type": "application/grpc", "te": "trailers"}
    for name, value in named.items():
        block += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return block


class GrpcClient(asyncio.Protocol):
    """Sends the next request when it has the last answer, until `end` (time.perf_counter).

    Attributes:
        times: latency of each answered call in seconds.
        failed: number of calls that ended without an answer.
        done: future that is set at the end, with an error where the server closed the connection.
    """

    def __init__(self, head: bytes, requests: Sequence[bytes], end: float) -> None:
        """`head` is of `headers`, `requests` are messages; they are sent in order, again and again."""
        self._head, self._end = head, end
        self._messages = [b"\0" + struct.pack(">I", len(request)) + request for request in requests]
        self._buffer, self._stream, self._received, self._started = b"", -1, 0, 0.0
        self.times: list[float] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, _WINDOW))  # 4: window of a stream
        transport.write(_PREFACE + settings + frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW - 65535)))
        self._send()

    def _send(self) -> None:
        self._stream += 2
        message = self._messages[self._stream // 2 % len(self._messages)]
        self._received, self._started = 0, time.perf_counter()
        head = frame(_HEADERS, _END_HEADERS, self._stream, self._head)
        self._transport.write(head + frame(_DATA, _END_STREAM, self._stream, message))

    def data_received(self, data: bytes) -> None:
        buffer, start = self._buffer + data, 0
        while len(buffer) - start >= 9:
            size = int.from_bytes(buffer[start : start + 3], "big")
            if len(buffer) - start - 9 < size:
                break
            self._frame(buffer[start + 3], buffer[start + 4], buffer[start + 9 : start + 9 + size])
            start += 9 + size
        self._buffer = buffer[start:]

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _DATA:
            self._received += len(payload)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _GO_AWAY:
            self._transport.close()
        elif kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
            if self._received > 5:  # a call that failed has trailers alone, and no message
                self.times.append(time.perf_counter() - self._started)
            else:
                self.failed += 1
            if time.perf_counter() < self._end:
                self._send()
            else:
                self.done.set_result(None)
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server has closed the connection"))


async def load_grpc(
    address: str, path: str, requests: Sequence[bytes], clients: int, seconds: float
) -> tuple[list[float], int]:
    """Latencies in seconds of all answered calls, and the number of calls that failed.

    Args:
        address: HOST:PORT.
        path: of the method, as in "/tensorflow.serving.PredictionService/Predict".
        requests: messages.
        clients: number of connections.
        seconds: duration.
    """
    host, _, port = address.rpartition(":")
    head, end = headers(path, address), time.perf_counter() + seconds
    loop, connected = asyncio.get_running_loop(), list[GrpcClient]()
    for i in range(clients):
        own = [*requests[7 * i % len(requests) :], *requests[: 7 * i % len(requests)]]
        _, client = await loop.create_connection(partial(GrpcClient, head, own, end), host, int(port))
        connected.append(client)
    await asyncio.gather(*(client.done for client in connected))
    return [seconds for client in connected for seconds in client.times], sum(client.failed for client in connected)
