"""Export of an index: items, fields and vectors as one Parquet or NumPy file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.errors import UsageError
from itembed_tf.extras import require
from itembed_tf.files import replacing
from itembed_tf.index.database import reading, snapshot
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import current_generation
from itembed_tf.index.records import Generation

SUFFIXES = (".parquet", ".npz")
COLUMNS = "id, place, kind, content, name, folder, captions, date, width, height, size, fields"
ROWS = 4096  # of a row group


def export_items(index: str | Path, file: str | Path) -> int:
    """Write all items with the vectors of the current generation, by id, as the index has them at one moment.

    A Parquet file has the columns of the items, ``captions`` as a list and ``fields`` as JSON, ``vector`` as a list of
    float16, ``text_bias`` and ``image_bias``; the contract hash is in its metadata. An .npz file has the same as arrays
    [n], ``vector`` float16 [n, D], ``captions`` and ``fields`` as JSON, and ``contract``; it needs no pickle.

    Returns:
        The number of items.

    Raises:
        UsageError: another ending than .parquet or .npz.
        MissingExtra: Parquet without pyarrow.
        SearchIndexError: an index without items.
    """
    file = Path(file)
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--export {file}: the name must end with {' or '.join(SUFFIXES)}")
    with closing(reading(index)) as connection, snapshot(connection):
        generation = current_generation(connection)
        if generation is None:
            raise SearchIndexError(f"{index} has no items; `itembed index RUN INPUT --out {index}` adds some")
        with replacing(file) as temporary:
            write = _write_parquet if file.suffix.lower() == ".parquet" else _write_npz
            return write(connection, generation, temporary)


def _chunks(connection: sqlite3.Connection, generation: Generation) -> Iterator[dict[str, list[Any]]]:
    names = [*COLUMNS.split(", "), "vector", "text_bias", "image_bias"]
    cursor = connection.execute(
        f"SELECT {COLUMNS}, vector, text_bias, image_bias FROM items "
        "JOIN vectors ON vectors.item = items.id AND generation = ? ORDER BY id",
        (generation.number,),
    )
    while rows := cursor.fetchmany(ROWS):
        yield dict(zip(names, map(list, zip(*rows))))


def _write_parquet(connection: sqlite3.Connection, generation: Generation, file: Path) -> int:
    require("Parquet files")
    import pyarrow as pa
    from pyarrow import parquet

    types = {"id": pa.int64(), "width": pa.int32(), "height": pa.int32(), "size": pa.int64()}
    types |= {"captions": pa.list_(pa.string()), "vector": pa.list_(pa.float16(), generation.dimensions)}
    types |= {"text_bias": pa.float32(), "image_bias": pa.float32()}
    names = [*COLUMNS.split(", "), "vector", "text_bias", "image_bias"]
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    schema = schema.with_metadata({"itembed_contract": generation.contract})
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for chunk in _chunks(connection, generation):
            vectors = np.frombuffer(b"".join(chunk["vector"]), "<f2")
            columns: dict[str, Any] = {**chunk, "captions": [json.loads(text) for text in chunk["captions"]]}
            columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors), generation.dimensions)
            writer.write_table(pa.table(columns, schema=schema))
            count += len(chunk["id"])
    return count


def _write_npz(connection: sqlite3.Connection, generation: Generation, file: Path) -> int:
    columns: dict[str, list[Any]] = {}
    for chunk in _chunks(connection, generation):
        for name, values in chunk.items():
            columns.setdefault(name, []).extend(values)
    if not columns:
        raise SearchIndexError("the index has no items")
    vectors = np.frombuffer(b"".join(columns.pop("vector")), "<f2").reshape(-1, generation.dimensions)
    arrays: dict[str, Any] = {"contract": np.array(generation.contract), "vector": vectors}
    for name, values in columns.items():
        if name in ("width", "height", "size"):
            arrays[name] = np.array([-1 if value is None else value for value in values], np.int64)
        elif name.endswith("_bias"):
            arrays[name] = np.array(values, np.float32)
        else:
            arrays[name] = np.array(["" if value is None else value for value in values])
    with open(file, "wb") as stream:
        np.savez(stream, **arrays)
    return len(vectors)
