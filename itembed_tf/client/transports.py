"""The transport of a client, gRPC or REST, chosen by the address of the server.

Each is imported on use: importing gRPC, or asyncio, takes longer than everything else in the client.
"""

from __future__ import annotations

from typing import Any, Protocol

from itembed_tf.client.calls import Call


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


def open_transport(address: str) -> Transport:
    """Transport to `address`: ``host:port`` for gRPC, ``http://host:port`` for REST."""
    if _is_rest(address):
        from itembed_tf.client.rest_transport import RestTransport

        return RestTransport(address)
    from itembed_tf.client.grpc_transport import GrpcTransport

    return GrpcTransport(address.removeprefix("grpc://"))


def open_async_transport(address: str) -> AsyncTransport:
    """`open_transport` for asyncio. REST runs in threads: the standard library has no asynchronous HTTP client."""
    if _is_rest(address):
        from itembed_tf.client.threaded_transport import ThreadedTransport

        return ThreadedTransport(open_transport(address))
    from itembed_tf.client.grpc_transport import AsyncGrpcTransport

    return AsyncGrpcTransport(address.removeprefix("grpc://"))


def _is_rest(address: str) -> bool:
    return address.startswith(("http://", "https://"))
