"""Requests and responses of the HTTP server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = "application/json"


@dataclass(frozen=True)
class HttpRequest:
    """One complete request.

    Attributes:
        method, target: as the request line has them.
        body: empty where there is none.
        encoding: Content-Encoding in lower case; "" where there is none.
        headers: by name in lower case; of several of one name, the last.
    """

    method: str
    target: str
    body: bytes | bytearray = b""
    encoding: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HttpResponse:
    """The response to one request; `headers` are sent beside Content-Type and Content-Length."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
