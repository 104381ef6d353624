"""Folders that the workers of one test run share: the first worker that needs a folder writes it, the others wait."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]) -> Path:
    """The folder `name`, which `write` fills once per test run, not once per worker.

    Args:
        tmp_path_factory: of a worker; the folder lies beside the temporary folders of all workers.
        name: of the folder, as a relative path.
        write: makes the folder whose path it is given. The folder is renamed when it is whole, so nothing in it may
            contain its own path.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)  # of a worker that failed
            write(partial)
            partial.rename(folder)
    return folder
