"""Ports that several processes listen on: checked to be free, then kept for them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from itembed_tf.errors import UsageError


def check_shared_ports() -> None:
    """Raise UsageError where the system does not distribute connections over the processes that listen on a port.

    Windows has no SO_REUSEPORT; on macOS one of the processes gets all connections.
    """
    if not sys.platform.startswith("linux") or not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError(
            "--workers above 1 needs Linux, which distributes the connections of one port over several processes; "
            "elsewhere start one server for each port, behind a proxy"
        )


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Keep a port for processes that listen on it with SO_REUSEPORT, until the block ends. Yields the port.

    Args:
        host: address or name to listen on.
        port: 0 for any free port.

    Raises:
        OSError: the port is in use, by whatever program, or the host is not one of this machine.
    """
    with ExitStack() as stack:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            # SO_REUSEPORT alone would share the port with any server of the same user that sets it too. Without it,
            # listening fails where another socket has the port.
            with _bound(family, kind, protocol, (address[0], port, *address[2:]), shared=False) as probe:
                probe.listen()
                port = probe.getsockname()[1]
            # A socket that does not listen gets no connections.
            stack.enter_context(_bound(family, kind, protocol, (address[0], port, *address[2:]), shared=True))
        yield port


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        if shared:  # or a socket that sets SO_REUSEADDR could listen until a worker does
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        bound.close()
        raise
    return bound
