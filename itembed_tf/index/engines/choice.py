"""Which engine searches an index, and why."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

APPROXIMATE_FROM = 200_000  # items
APPROXIMATE_SEGMENT = 20_000  # rows below which a segment is scanned


@dataclass(frozen=True)
class Choice:
    """An engine and the reason, one sentence; `note` is for the user, "" if there is nothing to do."""

    name: str
    reason: str
    note: str = ""


def choose_engine(count: int) -> Choice:
    """The engine for an index of `count` items on this machine."""
    if count < APPROXIMATE_FROM:
        return Choice("exact", f"below {APPROXIMATE_FROM:,} items every item is compared")
    if find_spec("faiss") is None:
        reason = f"each of the {count:,} items is compared"
        note = f"{reason}; pip install 'itembed_tf[search]' brings FAISS, which searches so many faster"
        return Choice("exact", reason, note)
    return Choice(
        "faiss", f"from {APPROXIMATE_FROM:,} items an approximate index (FAISS) proposes items, which are then compared"
    )


def wants_approximate(rows: int, total: int) -> bool:
    """Whether a segment of so many rows, in a generation of `total`, gets an approximate index."""
    return rows >= APPROXIMATE_SEGMENT and choose_engine(total).name == "faiss"
