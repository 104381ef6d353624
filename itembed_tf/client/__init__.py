"""Ask a server of the encoders for embeddings, by gRPC or REST; imports NumPy and nothing heavier."""

from typing import Any

from itembed_tf.client.batches import Texts
from itembed_tf.client.blocking import Client
from itembed_tf.client.calls import ServingError

__all__ = ["AsyncClient", "Client", "ServingError", "Texts"]


def __getattr__(name: str) -> Any:
    """AsyncClient on first use: asyncio takes as long to import as all the rest, and most programs do without."""
    if name != "AsyncClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from itembed_tf.client.awaitable import AsyncClient

    return AsyncClient
