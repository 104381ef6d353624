"""The transport of a client, gRPC or REST, chosen by the address of the server.

Each is imported on use: importing gRPC, or asyncio, takes longer than everything else in the client.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from itembed_tf.client.access import Access
from itembed_tf.client.calls import Call

SCHEMES = ("grpc", "grpcs", "http", "https")


class Transport(Protocol):
    """One connection, or a pool of them, to a server."""

    def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""

    def close(self) -> None:
        """Close all connections."""


class AsyncTransport(Protocol):
    """The same with coroutines."""

    async def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""

    async def close(self) -> None:
        """Close all connections."""


def open_transport(address: str, access: Access) -> Transport:
    """Transport to `address`: ``host:port`` for gRPC, ``http://host:port`` for REST; encrypted grpcs:// and https://."""
    scheme, place = _split(address, access)
    if scheme in ("http", "https"):
        from itembed_tf.client.rest_transport import RestTransport

        return RestTransport(address, access)
    from itembed_tf.client.grpc_transport import GrpcTransport

    return GrpcTransport(place, access, secure=scheme == "grpcs")


def open_async_transport(address: str, access: Access) -> AsyncTransport:
    """`open_transport` for asyncio. REST runs in threads: the standard library has no asynchronous HTTP client."""
    scheme, place = _split(address, access)
    if scheme in ("http", "https"):
        from itembed_tf.client.threaded_transport import ThreadedTransport

        return ThreadedTransport(open_transport(address, access))
    from itembed_tf.client.grpc_transport import AsyncGrpcTransport

    return AsyncGrpcTransport(place, access, secure=scheme == "grpcs")


def _split(address: str, access: Access) -> tuple[str, str]:
    scheme, separator, place = address.partition("://")
    if not separator:
        scheme, place = "grpc", address
    if scheme not in SCHEMES or not place:
        raise ValueError(
            f"{address!r} is not an address; use host:port or grpcs://host:port for gRPC, http://host:port"
        )
    if scheme in ("grpc", "grpcs") and not re.fullmatch(r"(unix|dns|ipv[46]):.+|.+:[0-9]+", place):
        raise ValueError(f"{address!r} has no port; use host:port, for example {place}:8500")
    if access.ca_file and scheme in ("grpc", "http"):
        raise ValueError(f"ca_file is for encrypted connections, and {address!r} is not: use grpcs:// or https://")
    return scheme, place
