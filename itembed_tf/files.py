"""Files that are whole or absent: atomic writes, checksums, and the folder of things computed once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itembed_tf.errors import UsageError, UserError

_SET_CACHE = "set the environment variable ITEMBED_CACHE to a folder that can be written"
PARTIAL = ".partial-"  # start of the name of what is being written
NAME_BYTES = 255  # limit of Linux for a name
PATH_BYTES = 4096 - 256  # limit for a path, without the longest one that a command adds to its output folder
WILDCARD = re.compile(r"[*?\[\]\\]")  # TensorFlow takes the path of a SavedModel for a pattern


def check_output(path: str | Path) -> Path:
    """Refuse an output folder with which a command would fail at its end.

    Returns:
        The path.

    Raises:
        UsageError: a wildcard of TensorFlow, a control character, invalid UTF-8, a web address, or too long a name.
    """
    text = os.fspath(path)
    start = f"the output folder {text if len(text) <= 80 else f'{text[:60]}...{text[-15:]}'!r} "
    if found := re.search("[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise UsageError(f"{start}has the character {found.group()!r}; use printable characters (UTF-8)")
    if found := WILDCARD.search(text):
        better = re.sub(f"{WILDCARD.pattern}+", "", text)
        raise UsageError(
            f"{start}has the character {found.group()}, a wildcard: TensorFlow cannot load encoders from there. Use "
            f"another name{f', for example {better!r}' if better else ''}"
        )
    if found := re.match("[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise UsageError(f"{start}is an address ({found.group()}); it must be a folder of this machine")
    longest = max((len(part.encode()) for part in Path(text).parts), default=0)
    if longest > NAME_BYTES or len(os.path.abspath(text).encode()) > PATH_BYTES:
        limits = f"a name may have {NAME_BYTES} bytes, the whole path {PATH_BYTES}"
        raise UsageError(f"{start}is too long: {limits}; use a shorter one")
    return Path(path)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a name to write a file to; the file takes the name `path` when the block ends without an error.

    The temporary name is unique, also among the machines of a shared volume (`partial_name`).

    Raises:
        OSError: as the block; it names `path` where it named no file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_name(path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # a power cut must not leave a name without its content
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is not None or isinstance(error, UserError):
            raise
        reason = error.strerror or str(error)
        raise (OSError(error.errno, reason, str(path)) if error.errno else OSError(f"{path}: {reason}")) from error
    finally:
        temporary.unlink(missing_ok=True)


def partial_name(path: Path) -> Path:
    """A hidden name beside `path`, with its ending, that no other process uses on any machine."""
    return path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name[-50:]}")


def remove_partial(folder: Path) -> None:
    """Remove what killed processes left half-written below a folder. Only for the process that has its lock."""
    for place, folders, files in os.walk(folder):
        for name in files:
            if name.startswith(PARTIAL):
                Path(place, name).unlink(missing_ok=True)
        for name in [name for name in folders if name.startswith(PARTIAL)]:
            shutil.rmtree(Path(place, name), ignore_errors=True)
            folders.remove(name)


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write a file so that a reader, or a run killed half-way, sees the old one or the new one and nothing between."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def folder_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the name `path` only when the block ends without an error.

    Raises:
        FileExistsError: `path` exists already: a finished folder is never overwritten.
    """
    path = Path(path)
    _refuse_existing(path)
    temporary = partial_name(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _refuse_existing(path)  # os.replace would replace an empty folder, and call others "not empty"
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists already and is not overwritten; choose another name or remove it")


def cache_folder(name: str) -> Path:
    """A folder for what is computed once and used by many runs: ``$ITEMBED_CACHE/name``, or ``~/.cache/itembed_tf``.

    Raises:
        UserError: it cannot be created or written.
    """
    own = os.environ.get("ITEMBED_CACHE")
    try:
        root = Path(own or Path.home() / ".cache" / "itembed_tf")
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        raise UserError(f"the cache folder cannot be created: {error}; {_SET_CACHE}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"the cache folder {folder} cannot be written; {_SET_CACHE}")
    return folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for temporary files, removed at the end of the block.

    Raises:
        UserError: there is no place for one.
    """
    check_temporary_folder()
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def check_temporary_folder() -> None:
    """Check, before hours of work, that `temporary_folder` will find a place.

    Raises:
        UserError: it will not.
    """
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(
            f"no folder for temporary files ({error.strerror}); set the environment variable TMPDIR to a folder that "
            "can be written"
        ) from None
    if found := WILDCARD.search(folder):
        raise UserError(
            f"the folder for temporary files, {folder!r}, has the character {found.group()}, a wildcard: TensorFlow "
            "cannot load models from there; set the environment variable TMPDIR to another folder"
        )


def shipped_folder(name: str) -> Path:
    """A folder that ships with the package: ``configs``, ``serving/templates`` or ``export/edge``.

    A wheel holds it inside the package, under ``shipped/``; in a checkout it is at the top level (see setup.py).
    """
    package = Path(__file__).parent
    inside = package / "shipped" / name
    return inside if inside.is_dir() else package.parent / name


def file_checksum(path: str | Path) -> str:
    """SHA-256 (hex) of a file's content, read piece by piece."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def checksum(*parts: str | bytes) -> str:
    """SHA-256 (hex) over the parts, each preceded by its length so that no two lists of parts collide by joining."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
