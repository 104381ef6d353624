"""Images in the cells of Parquet files: read when they are needed, with the last row groups kept in memory."""

from __future__ import annotations

import os
from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

CACHE_BYTES = 2**28  # of all row groups in memory; a larger row group is read in batches up to the row
BATCH = 16  # rows of such a batch


class TableCell(NamedTuple):
    """An image file in a cell of a Parquet file."""

    path: str
    row_group: int
    row: int  # in its row group
    column: str  # of bytes, or a path such as image.bytes into a column of structs


_groups: OrderedDict[tuple[str, int, int, str], Any] = OrderedDict()
_lock = Lock()


def read_cell(cell: TableCell) -> bytes:
    """The bytes of an image file in a Parquet file.

    Raises:
        OSError: the file cannot be read, is damaged, or has no image in this cell.
    """
    where = f"{cell.path}, row {cell.row} of row group {cell.row_group}"
    try:
        with _lock:  # one thread decodes a row group, and the others wait for it rather than decode it too
            value = _value(cell)
    except (ValueError, IndexError) as error:  # pyarrow's errors of damaged files are ValueErrors and OSErrors
        raise OSError(f"{where} cannot be read ({error}); copy the file again") from error
    if not isinstance(value, bytes) or not value:
        raise OSError(f"{where} has no image in the column {cell.column!r}")
    return value


def _value(cell: TableCell) -> Any:
    key = (cell.path, os.stat(cell.path).st_mtime_ns, cell.row_group, cell.column)
    if key in _groups:
        _groups.move_to_end(key)
        return _bytes(_groups[key][cell.row].as_py())
    from pyarrow import parquet

    with parquet.ParquetFile(cell.path) as file:
        group = file.metadata.row_group(cell.row_group)
        leaves = [group.column(i) for i in range(group.num_columns)]
        size = sum(leaf.total_uncompressed_size for leaf in leaves if leaf.path_in_schema == cell.column)
        if size > CACHE_BYTES:
            return _bytes(_streamed(file, cell))
        _groups[key] = file.read_row_group(cell.row_group, columns=[cell.column]).column(0)
    while len(_groups) > 1 and sum(column.nbytes for column in _groups.values()) > CACHE_BYTES:
        _groups.popitem(last=False)
    return _bytes(_groups[key][cell.row].as_py())


def _streamed(file: Any, cell: TableCell) -> Any:
    start = 0
    for batch in file.iter_batches(batch_size=BATCH, row_groups=[cell.row_group], columns=[cell.column]):
        if cell.row < start + len(batch):
            return batch.column(0)[cell.row - start].as_py()
        start += len(batch)
    raise IndexError("the row group is shorter")


def _bytes(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, dict) else value
