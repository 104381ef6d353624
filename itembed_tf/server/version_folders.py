"""Folders of model versions under a folder of exports: found, and checked before TensorFlow opens a file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.export_layout import CONTRACT_FILE, EXTRA_ASSETS

GRAPH_FILE = "saved_model.pb"
# Bytes of the files that are read into memory whole; Protocol Buffers refuses messages of 2 GiB.
MAX_BYTES = {GRAPH_FILE: 2**29, f"{EXTRA_ASSETS}/{CONTRACT_FILE}": 2**20}
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
        numbered = [folder for folder in _folders(model) if _is_version(folder.name)]
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


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name.lstrip("0")) < 19  # fits into an int64


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
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode) and not path.is_symlink():
                problem = problem or f"{name} is not a regular file"
            if status.st_size > MAX_BYTES.get(name, status.st_size):
                problem = problem or f"{name} has {status.st_size:,} bytes; the maximum is {MAX_BYTES[name]:,}"
    except OSError as error:
        problem = str(error)
    return VersionFolder(folder, tuple(files), problem)
