"""Files that are whole or absent: atomic writes, checksums, and the folder of things computed once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itembed_tf.errors import UserError

_SET_CACHE = "set the environment variable ITEMBED_CACHE to a folder that can be written"


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write a file so that a reader, or a run killed half-way, sees the old one or the new one and nothing between."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp gives 0600; others may read what a run wrote
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


@contextmanager
def folder_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the name `path` only when the block ends without an error.

    Raises:
        FileExistsError: `path` exists already: a finished folder is never overwritten.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already and is not overwritten; choose another name or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(
            f"no folder for temporary files ({error.strerror}); set the environment variable TMPDIR to a folder that "
            "can be written"
        ) from None


def shipped_folder(name: str) -> Path:
    """A folder that ships with the package: ``configs``, ``serving/templates`` or ``export/edge``.

    A wheel holds it inside the package, under ``shipped/``; in a checkout it is at the top level (see setup.py).
    """
    package = Path(__file__).parent
    inside = package / "shipped" / name
    return inside if inside.is_dir() else package.parent / name


def checksum(*parts: str | bytes) -> str:
    """SHA-256 (hex) over the parts, each preceded by its length so that no two lists of parts collide by joining."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
