"""Rows of an array computed once: a cached .npy file that a killed process leaves for the next one to finish."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.data.cache_size import UNFINISHED, drop_oldest, mark_used
from itembed_tf.errors import UserError
from itembed_tf.files import write_atomically
from itembed_tf.locks import locked_file, remove_left_lock

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, a quota or a limit is reached
Batches = Callable[[int], Iterable[tf.Tensor]]  # from the number of the first row to the rows from there on


class NoSpace(UserError, OSError):
    """The disk of the cache folder is full; the message names the folder and its setting."""


def cached_rows(
    path: Path,
    batches: Batches,
    shape: tuple[int, int],
    title: str,
    *,
    dtype: type[np.floating] = np.float32,
    unit: str = " images",
) -> np.ndarray:
    """The memory-mapped rows of a cached .npy file; where it is missing or damaged, they are computed and written.

    One process computes a file; others wait for it, and then read it. A process that is killed leaves its rows, and
    the next one computes only the others.

    Args:
        path: of the file.
        batches: gives the rows from a number on, some at a time.
        shape: of all rows.
        title, unit: of the progress bar.
        dtype: of the file.

    Raises:
        NoSpace: the disk is full.
    """
    rows = _open_rows(path, shape, dtype, warn=False)
    if rows is not None:
        remove_left_lock(path)  # of a process that was killed after it had written the file
        return rows
    with locked_file(path):
        if (rows := _open_rows(path, shape, dtype)) is None:
            _compute(path, batches, shape, title, dtype, unit)
            rows = _open_rows(path, shape, dtype)
    assert rows is not None
    return rows


def _open_rows(path: Path, shape: tuple[int, int], dtype: type[np.floating], *, warn: bool = True) -> np.ndarray | None:
    """The rows of a cached file; None if it is missing or damaged. With `warn`, a damaged file gives a warning."""
    if not path.exists():
        return None
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(rows, np.ndarray) and rows.shape == shape and rows.dtype == dtype:
            mark_used(path)
            return rows
        reason = f"it does not hold {dtype.__name__} {list(shape)}"
    except (ValueError, EOFError) as error:
        reason = str(error)
    if warn:
        warnings.warn(f"the cached file {path} is damaged ({reason}); it is computed again", stacklevel=3)
    return None


def _compute(
    path: Path, batches: Batches, shape: tuple[int, int], title: str, dtype: type[np.floating], unit: str
) -> None:
    """Write batches into a .npy file, one at a time to save memory; the file gets its name when it is complete.

    The number of rows that are written stands in a file beside it. It is written after them.
    """
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    count = unfinished.with_suffix(".rows")
    start = _rows_written(count) if unfinished.exists() else 0
    rows = _open_unfinished(unfinished, shape, dtype) if start else None
    if rows is None:
        start = 0
        count.unlink(missing_ok=True)  # that of a file which could not be continued does not hold for a new one
        drop_oldest(path.parent, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        rows = _reserved(unfinished, dtype, shape)
    with tqdm(total=shape[0], initial=start, desc=title, unit=unit) as bar:
        for batch in batches(start) if start < len(rows) else ():
            rows[start : start + len(batch)] = batch.numpy()
            rows.flush()
            start += len(batch)
            write_atomically(count, f"{start}\n")
            bar.update(len(batch))
    os.replace(unfinished, path)
    count.unlink(missing_ok=True)


def _rows_written(count: Path) -> int:
    try:
        return int(count.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _open_unfinished(path: Path, shape: tuple[int, int], dtype: type[np.floating]) -> np.memmap | None:
    """The rows of a file that a killed process left, to be written; None where it cannot be continued."""
    try:
        rows = np.lib.format.open_memmap(path, mode="r+")
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.shape == shape and rows.dtype == dtype else None


def _reserved(file: Path, dtype: type[np.floating], shape: tuple[int, int]) -> np.memmap:
    """A new memory-mapped .npy file with all its space allocated.

    NumPy makes it sparse: on a full disk, writing its rows would end the process by a bus error, without a message.

    Raises:
        NoSpace: there is too little space.
    """
    try:
        rows = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with open(file, "r+b") as out:
                os.posix_fallocate(out.fileno(), 0, file.stat().st_size)
    except OSError as error:
        file.unlink(missing_ok=True)
        if error.errno not in NO_SPACE:
            raise
        megabytes = np.dtype(dtype).itemsize * shape[0] * shape[1] / 1e6
        raise NoSpace(
            f"the cache folder {file.parent} has no space for {megabytes:,.1f} MB of features ({error.strerror}): free "
            "some, or set the environment variable ITEMBED_CACHE to a folder on another disk",
        ) from error
    return rows
