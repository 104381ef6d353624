"""Parquet files with an image column of bytes, as Hugging Face `datasets` and img2dataset write them.

Captions are read in batches. Images stay in the files: each is a cell, which `cells` reads when it is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from itembed_tf.data.readers.cells import TableCell
from itembed_tf.data.readers.columns import BYTES_NAMES, IMAGE_NAMES, Columns, find_columns
from itembed_tf.data.readers.group import format_items
from itembed_tf.data.readers.records import Record
from itembed_tf.data.readers.rows import Row, texts_of
from itembed_tf.extras import require
from itembed_tf.git_pointer import HEAD, pointer_problem

BATCH = 1000  # rows of captions that are read at once
LISTED = 5  # row groups in a warning


def open_parquet(path: Path, advice: str) -> Any:
    """A `pyarrow.parquet.ParquetFile`.

    Raises:
        MissingExtra: pyarrow is not installed.
        ValueError: the file is a pointer of Git LFS, is not Parquet, or is cut.
    """
    require("Parquet files")
    from pyarrow import parquet

    if not path.is_file():
        raise ValueError(f"{path} must be a file. {advice}")
    with path.open("rb") as file:
        if problem := pointer_problem(file.read(HEAD)):
            raise ValueError(f"{path} {problem}")
    try:
        return parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is not a complete Parquet file ({reason}); download it again, or remove it. {advice}"
        ) from error


def image_leaf(file: Any, image_column: str) -> str:
    """The column with the bytes of image files, or its field: ``image.bytes``; "" if no column has any."""
    import pyarrow

    leaves = {}
    for field in file.schema_arrow:
        if pyarrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            leaves[field.name] = f"{field.name}.bytes"
        elif pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type):
            leaves[field.name] = field.name
    if image_column:
        return leaves.get(image_column, "")
    known = [name.replace(" ", "_") for name in (*IMAGE_NAMES, *BYTES_NAMES)]
    ordered = sorted(leaves, key=lambda name: known.index(name.lower()) if name.lower() in known else len(known))
    return leaves[ordered[0]] if ordered else ""


def parquet_columns(file: Any, path: Path, leaf: str, caption_column: str, advice: str) -> Columns:
    """The columns that are read. A label or split that is a number, a class of Hugging Face's, is not one of ours.

    Raises:
        ValueError: no caption column.
    """
    import pyarrow

    columns = find_columns(
        file.schema_arrow.names,
        [],
        image_column=leaf.partition(".")[0],
        caption_column=caption_column,
        where=str(path),
        advice=advice,
    )
    texts = {field.name for field in file.schema_arrow if not pyarrow.types.is_primitive(field.type)}
    return replace(
        columns,
        split=columns.split if columns.split in texts else "",
        label=columns.label if columns.label in texts else "",
    )


def read_parquet(
    file: Any, path: Path, name: str, leaf: str, columns: Columns, split: str, advice: str, problems: list[str]
) -> list[Row]:
    """Read a row per row of a file; row groups that are damaged are left out, with a warning.

    Args:
        file: of `open_parquet`.
        path: of the file.
        name: of the file, with which ids begin.
        leaf: the column of `image_leaf`.
        columns: of `parquet_columns`.
        split: of rows without one.
        advice: ends every message.
        problems: rows with an invalid caption, split or label are added.

    Raises:
        ValueError: every row group is damaged.
    """
    rows: list[Row] = []
    faults = []
    start = end = 0
    for number in range(file.metadata.num_row_groups):
        start, end = end, end + file.metadata.row_group(number).num_rows
        try:
            values = list(_rows(file, number, [*columns.captions, columns.split, columns.label]))
        except (ValueError, OSError) as error:
            faults.append(f"row group {number} ({end - start:,} rows): {str(error).splitlines()[0][:200]}")
            continue
        for row, record in enumerate(values):
            where = f"{name}/{start + row:07d}"
            given = texts_of(where, _without_null(record, columns), columns, split, problems)
            if given:
                rows.append(Row(where, where, TableCell(str(path), number, row, leaf), *given))
    if faults:
        text = f"{path}: {len(faults):,} of {file.metadata.num_row_groups:,} row groups are damaged"
        listed = format_items(faults, LISTED)
        if not rows:
            raise ValueError(f"{text}; download it again. {advice}\n{listed}")
        warnings.warn(f"{text}, and left out; download it again to have them:\n{listed}", stacklevel=5)
    return rows


def parquet_records(file: Any, columns: Sequence[str]) -> list[Record]:
    """The rows of a file whose images are paths."""
    return [
        Record(f"row {number}", record)
        for number, record in enumerate(
            (record for group in range(file.metadata.num_row_groups) for record in _rows(file, group, columns)), 1
        )
    ]


def _rows(file: Any, group: int, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    names = [name for name in dict.fromkeys(columns) if name]
    for batch in file.iter_batches(batch_size=BATCH, row_groups=[group], columns=names):
        yield from batch.to_pylist()


def _without_null(record: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """A null caption is an empty one: tables have nulls where a download had no text."""
    filled = dict(record)
    for name in columns.captions:
        value = record.get(name)
        filled[name] = [each for each in value if each is not None] if isinstance(value, list) else value or ""
    return filled
