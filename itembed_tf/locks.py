"""File locks: one process at a time writes a folder or a cached file.

The operating system holds the locks (flock, by the package filelock) and frees them when the process ends, however it
ends. The lock file names the holder for messages. It is removed with the lock; one that a killed process left behind
locks nothing.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from itembed_tf.errors import UserError
from itembed_tf.files import PARTIAL, check_output, remove_partial

LOCK_FILE = ".lock"
SECONDS = 1.0  # between two looks at a lock that another process has


class Locked(UserError, RuntimeError):
    """Another process writes to the folder; the message names it and says what to do."""


@contextmanager
def locked_folder(folder: str | Path, instead: str) -> Iterator[None]:
    """Hold the lock of an output folder, which is created, and remove what killed processes left half-written in it.

    A new folder in which nothing was written is removed again.

    Args:
        folder: that the block writes to.
        instead: what the user can do besides waiting, for the error message.

    Raises:
        Locked: another process has the lock.
        UsageError: as `check_output`.
    """
    folder = check_output(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)

    def refuse(holder: str) -> None:
        raise Locked(f"{folder} is in use by {holder}, which writes to it; wait until it ends, stop it, or {instead}")

    try:
        with _held(folder / LOCK_FILE, refuse):
            remove_partial(folder)
            yield
    finally:
        if is_new:
            with suppress(OSError):  # not empty: the block wrote files
                folder.rmdir()


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Hold the lock of a cached file. While another process has it, wait, and print which process that is."""
    path.parent.mkdir(parents=True, exist_ok=True)

    @cache  # printed once for each holder
    def wait(holder: str) -> None:
        print(f"waiting for {holder}, which computes {path}", file=sys.stderr, flush=True)

    with _held(_lock_of(path), wait):
        for leftover in path.parent.glob(f"{PARTIAL}*-{path.stem}.*"):  # of it, and of the file that counts its rows
            leftover.unlink(missing_ok=True)
        yield


def remove_left_lock(path: Path) -> None:
    """Remove the lock file of a cached file that a killed process left behind; one that is held stays."""
    from filelock import FileLock, Timeout

    if (file := _lock_of(path)).exists():
        with suppress(Timeout, OSError), FileLock(file, timeout=0):
            file.unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}{LOCK_FILE}")


@contextmanager
def _held(file: Path, busy: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock; `busy` is called with its holder while another process has it, and may raise."""
    from filelock import FileLock, SoftFileLock, Timeout

    lock = FileLock(file, mode=0o664)  # another user of the group can take a lock that was left behind
    while not lock.is_locked:
        try:
            lock.acquire(timeout=SECONDS)  # not at once: its holder may be ending
        except Timeout:
            busy(_holder(file))
    native = not isinstance(lock, SoftFileLock)  # which a file system without flock gets, and which names its holder
    try:
        if native:
            with suppress(OSError):  # a full disk
                file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        if native:
            file.unlink(missing_ok=True)  # while it is held: who waits for it takes a new file
        lock.release()


def _holder(file: Path) -> str:
    """``process 1234 on this machine (host)``, from a lock file: process id and host, one a line."""
    try:
        process, host, *_ = file.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return "another process"
    place = f"this machine ({host})" if host == socket.gethostname() else f"the machine {host}"
    return f"process {process} on {place}"
