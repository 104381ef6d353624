"""Client of a server of the encoders, by gRPC or REST; it needs NumPy and nothing heavier.

The names are imported on first use, so that `import itembed_tf.client` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itembed_tf.client.async_client import AsyncClient
    from itembed_tf.client.batches import Images, Texts
    from itembed_tf.client.calls import ServingError
    from itembed_tf.client.sync_client import Client

MODULES = {"AsyncClient": "async_client", "Client": "sync_client", "ServingError": "calls"}
MODULES |= {"Images": "batches", "Texts": "batches"}
__all__ = ["AsyncClient", "Client", "Images", "ServingError", "Texts"]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
    globals()[name] = value
    return value
