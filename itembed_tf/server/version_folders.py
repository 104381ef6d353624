"""Folders of model versions under a folder of exports: found, and checked before TensorFlow opens a file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.export_layout import CONTRACT_FILE, EXTRA_ASSETS, is_version

GRAPH_FILE = "saved_model.pb"
VARIABLES = "variables/"  # holds the weights, of which TensorFlow reads what the index names
# All other files are read into memory whole.
MAX_CONTRACT_BYTES, MAX_FILE_BYTES = 2**20, 2**29
_OPENED = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)  # a link only if it leads nowhere, which opens nothing
Fingerprint = tuple[tuple[str, int, int], ...]  # path, size and modification time of every file


@dataclass(frozen=True)
class VersionFolder:
    """A folder with a SavedModel.

    Attributes:
        path: of the folder.
        files: fingerprint; it changes while the folder is being copied.
        problem: why it must not be loaded; "" where nothing is wrong.
    """

    path: Path
    files: Fingerprint
    problem: str


def find_versions(exports: Path) -> dict[str, dict[int, VersionFolder]]:
    """Versions by number, of each model that has one: ``EXPORTS/<model>/<number>/saved_model.pb``.

    What cannot be read in one folder does not affect the others. Leading zeros are allowed, as in TF Serving; where two
    names are the same number, the shorter one counts.
    """
    versions: dict[str, dict[int, VersionFolder]] = {}
    for model in _folders(exports):
        numbered = [folder for folder in _folders(model) if is_version(folder.name)]
        for folder in sorted(numbered, key=lambda folder: -len(folder.name)):
            if os.path.lexists(folder / GRAPH_FILE):
                versions.setdefault(model.name, {})[int(folder.name)] = _inspect(folder)
    return versions


def writable_by_others(exports: Path) -> list[Path]:
    """Folders in which every user of the machine can put files: a SavedModel is a program that the server runs."""
    folders = [exports, *_folders(exports)]
    return [folder for folder in folders if folder.exists() and folder.stat().st_mode & stat.S_IWOTH]


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # removed, or not readable
        return []


def _inspect(folder: Path) -> VersionFolder:
    files, problem = [], ""
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            try:
                status = path.stat()
            except OSError:
                status = path.lstat()  # a link to nothing
            files.append((name, status.st_size, status.st_mtime_ns))
            maximum = MAX_CONTRACT_BYTES if name == f"{EXTRA_ASSETS}/{CONTRACT_FILE}" else MAX_FILE_BYTES
            if stat.S_IFMT(status.st_mode) not in _OPENED:
                problem = problem or f"{name} is not a regular file"
            elif status.st_size > maximum and not name.startswith(VARIABLES):
                problem = problem or f"{name} has {status.st_size:,} bytes; the maximum is {maximum:,}"
    except OSError as error:
        problem = str(error)
    return VersionFolder(folder, tuple(files), problem)
