"""Size limit of a folder of cached files: the files that were not used for the longest time are removed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from itembed_tf.errors import UsageError

SETTING = "ITEMBED_CACHE_GB"
# Gigabytes: eight views of 100,000 images need 39 with the 12,304 features of configs/flickr8k_best.toml on Lite2.
DEFAULT = 50.0
ABANDONED = 7 * 24 * 3600  # seconds after which an unfinished file is removed
UNFINISHED = ".unfinished-"
_used: set[Path] = set()  # files that this process has opened, which are not removed


class _File(NamedTuple):
    used: float  # seconds since 1970
    size: int  # bytes
    path: Path


def limit() -> float:
    """The limit in bytes: ``ITEMBED_CACHE_GB`` gigabytes, or the default.

    Raises:
        UsageError: the variable is no number above 0.
    """
    value = os.environ.get(SETTING, "")
    try:
        gigabytes = float(value or DEFAULT)
    except ValueError:
        gigabytes = 0.0
    if not gigabytes > 0:
        raise UsageError(f"the environment variable {SETTING} is {value!r}; it must be a number of gigabytes above 0")
    return gigabytes * 1e9


def mark_used(path: Path) -> None:
    """Note that a cached file is in use: its modification time is that of its last use."""
    _used.add(path)
    with suppress(OSError):  # the file of another user
        os.utime(path)


def drop_oldest(folder: Path, needed: int) -> None:
    """Remove cached files until `needed` bytes more stay within the limit, those that were used last remain.

    Files that this process uses are kept, even where they exceed the limit. On Linux and macOS another process goes on
    reading a file that is removed.
    """
    files = sorted(_files(folder))
    total, now = needed + sum(file.size for file in files), time.time()
    bound, removed = limit(), []
    for file in files:
        abandoned = file.path.name.startswith(UNFINISHED) and now - file.used > ABANDONED
        if file.path not in _used and (total > bound or abandoned):
            with suppress(OSError):  # Windows, where a file that is read cannot be removed
                file.path.unlink()
                file.path.with_suffix(".rows").unlink(missing_ok=True)  # of an unfinished file
                removed.append(file)
                total -= file.size
    if removed:
        days = (now - removed[-1].used) / 86_400
        print(
            f"cache: removed {len(removed):,} files of {sum(file.size for file in removed) / 1e9:.1f} GB, not used for "
            f"{days:.0f} days or more ({folder} is limited to {bound / 1e9:g} GB by {SETTING})",
            flush=True,
        )


def _files(folder: Path) -> list[_File]:
    found = []
    for path in folder.glob("*.npy"):  # with the unfinished ones, whose names begin with a dot
        with suppress(FileNotFoundError):  # another process removed it
            status = path.stat()
            found.append(_File(status.st_mtime, status.st_size, path))
    return found
