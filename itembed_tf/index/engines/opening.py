"""Engines by name."""

from __future__ import annotations

from pathlib import Path

from itembed_tf.errors import UsageError, did_you_mean
from itembed_tf.index.engines.interface import Engine
from itembed_tf.index.engines.local import LocalEngine
from itembed_tf.index.engines.milvus import SCHEME, MilvusEngine

NAMES = ("auto", "exact")


def open_engine(folder: str | Path, name: str = "auto") -> Engine:
    """An engine on the index `folder`.

    Args:
        name: "auto" (see `choose_engine`), "exact", which compares every item, or ``milvus://HOST:PORT``.

    Raises:
        SearchIndexError: `folder` is not an index.
        UsageError: there is no such engine.
        MissingExtra: what the engine needs is not installed.
    """
    if name.startswith(SCHEME):
        return MilvusEngine(folder, name)
    if name not in NAMES:
        raise UsageError(
            f"engine {name!r}: allowed are {', '.join(NAMES)} and milvus://HOST:PORT{did_you_mean(name, NAMES)}"
        )
    return LocalEngine(folder, exact=name == "exact")
