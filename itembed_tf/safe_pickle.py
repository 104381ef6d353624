"""Reading of untrusted pickles: plain containers, numbers and strings, and nothing else but what the caller allows."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")


class PickleRefused(ValueError):
    """The pickle was not loaded; the message says why. Nothing in it was run."""


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        stream: BinaryIO,
        allowed: Mapping[tuple[str, str], Any],
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(stream)
        self._allowed = allowed
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._allowed[module, name]

    def persistent_load(self, identity: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to external data")
        return self._persistent(identity)


def safe_load(
    stream: BinaryIO,
    allowed: Mapping[tuple[str, str], Any],
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """Unpickle one object from a stream, without running code of its choice. The stream is then behind it.

    Args:
        stream: seekable.
        allowed: what stands for each class and function that the pickle may name, by (module, name). The pickle can
            call it with any arguments and set its attributes and state, so these must be harmless stand-ins that check
            their arguments, without attributes that can be set.
        persistent: replaces references to external data, by their identities; they are refused without it.

    Raises:
        PickleRefused: the pickle is damaged, asks for anything else, or would need much more memory than its size.
    """
    try:
        _check_memo(stream)
        return _Unpickler(stream, allowed, persistent).load()
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise PickleRefused(str(error) or type(error).__name__) from None


def _check_memo(stream: BinaryIO) -> None:
    """Refuse positions in the memo beyond what the pickle can fill: the unpickler would allocate the room for them."""
    start = stream.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name in MEMO_OPCODES and int(str(argument)) > count:
            raise pickle.UnpicklingError(f"position {argument} in its memo after {count} operations")
    stream.seek(start)
