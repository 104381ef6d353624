"""Ctrl-C and SIGTERM: where they may act, and the command that continues the work they end."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from itembed_tf.errors import Terminated, UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BY_DEFAULT = (signal.default_int_handler, signal.SIG_DFL)  # handlers that `resumable` replaces
AGAIN_AFTER = 0.05  # seconds until an interruption that Python has dropped is raised again


@contextmanager
def resumable(command: str) -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does (`Terminated`), and add to either the command that continues the work.

    Neither is lost. Raised in a finaliser, for example of a tensor, the exception would be printed and dropped: it is
    raised again soon after. Raised while C code calls Python, as in an import of an extension module, it can come out
    as another error: the block ends with the interruption in its place.

    A process that ignores one of the signals, or has a handler of its own, keeps that.

    Args:
        command: that continues the work.

    Raises:
        KeyboardInterrupt: its last argument says how to continue; `Terminated` for SIGTERM.
    """
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> NoReturn:
        received.append(number)
        raise _exception(number)

    def raise_again(lost: Any) -> None:
        if not (received and issubclass(lost.exc_type, KeyboardInterrupt)):
            hook(lost)
            return
        timer = threading.Timer(AGAIN_AFTER, _thread.interrupt_main, received[-1:])
        timer.daemon = True
        timer.start()

    hook, sys.unraisablehook = sys.unraisablehook, raise_again
    try:
        with replaced_handlers(interrupt, only=BY_DEFAULT):
            yield
    except KeyboardInterrupt as ended:
        raise type(ended)(*ended.args, _advice(command)) from None
    except Exception as error:
        if not received or isinstance(error, UserError):  # such as a full disk, where a checkpoint was to be saved
            raise
        raise _exception(received[-1], _advice(command)) from error
    finally:
        sys.unraisablehook = hook


def _exception(number: int, *arguments: str) -> KeyboardInterrupt:
    return (Terminated if number == signal.SIGTERM else KeyboardInterrupt)(*arguments)


def _advice(command: str) -> str:
    return f"continue with: {command}"


@contextmanager
def replaced_handlers(handler: Callable[[int, Any], object], only: tuple[Any, ...] = ()) -> Iterator[dict[int, Any]]:
    """Handle Ctrl-C and SIGTERM by a function within the block; yields the handlers that it replaces.

    Only handlers of Python are replaced: by default that of Ctrl-C, and that of SIGTERM where the program has set one
    (`resumable`); or, where they are given, `only` certain handlers. Only the main thread of a process receives
    signals; in other threads, and in background processes of a shell, which ignore Ctrl-C, none is replaced.
    """
    replaced: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        former = {number: signal.getsignal(number) for number in SIGNALS}
        replaced = {number: each for number, each in former.items() if (each in only if only else callable(each))}
    for number in replaced:
        signal.signal(number, handler)
    try:
        yield replaced
    finally:
        for number, former_handler in replaced.items():
            signal.signal(number, former_handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM act after the block instead of within it, so that what it changes is consistent."""
    received: list[tuple[int, Any]] = []
    with replaced_handlers(lambda number, frame: received.append((number, frame))) as handlers:
        yield
    for number, frame in received[:1]:
        handlers[number](number, frame)
