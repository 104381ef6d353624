"""Requests and responses of the HTTP server."""

from __future__ import annotations

from dataclasses import dataclass

JSON = "application/json"


@dataclass(frozen=True)
class HttpRequest:
    """One complete request.

    Attributes:
        method, target: as the request line has them.
        body: empty where there is none.
        encoding: Content-Encoding in lower case; "" where there is none.
    """

    method: str
    target: str
    body: bytes | bytearray = b""
    encoding: str = ""


@dataclass(frozen=True)
class HttpResponse:
    """The response to one request; `headers` are sent beside Content-Type and Content-Length."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
