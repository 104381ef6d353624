"""An index of the rows of `benchmarks.index_data`, for `benchmarks.index` and `benchmarks.milvus`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.index_data import Vectors
from itembed_tf.index.database import writing
from itembed_tf.index.generations import StoredEncoders, current_generation, start_generation
from itembed_tf.index.items import add_source, put_items
from itembed_tf.index.records import NewItem
from itembed_tf.retrieval.calibration import Calibration, calibration_bytes
from itembed_tf.retrieval.hubness import Bank

CONTRACT = "b0" * 32
BATCH = 5_000


def new_items(data: Vectors, rows: Sequence[int] | NDArray[np.int64], name: str = "") -> list[NewItem]:
    """Items of some rows; `name` makes their places differ from those of other calls."""
    return [
        NewItem(
            place=f"/photos/{name}{row // 1000}/{row}.jpg",
            kind="image",
            content=hashlib.sha256(f"{name}{row}".encode()).hexdigest(),
            stamp="1 1",
            name=f"{row}.jpg",
            folder=f"/photos/{name}{row // 1000}",
            vector=data.vectors[row].astype(np.float32),
            text_bias=float(data.biases[row, 0]),
            image_bias=float(data.biases[row, 1]),
        )
        for row in rows
    ]


def write_index(folder: Path, data: Vectors) -> float:
    """An index whose item n is row n - 1 of the data, without derived files; returns the seconds that it took."""
    started = time.monotonic()
    banks = {kind: Bank(bank, np.arange(len(bank), dtype=np.int32)) for kind, bank in data.samples.items()}
    calibration = calibration_bytes(Calibration(CONTRACT, banks["text"], banks["image"], corrections={}))
    with writing(folder, create=True) as connection:
        encoders = StoredEncoders(CONTRACT, data.vectors.shape[1], b"", "{}", calibration)
        generation = current_generation(connection) or start_generation(connection, encoders)
        source = add_source(connection, "folder", "/photos")
        for start in range(0, len(data.vectors), BATCH):
            rows = range(start, min(start + BATCH, len(data.vectors)))
            put_items(
                connection,
                new_items(data, rows),
                source=source,
                generation=generation.number,
                dimensions=generation.dimensions,
            )
            if start % (20 * BATCH) == 0:
                print(f"  {rows.stop:,} of {len(data.vectors):,} items", flush=True)
    return time.monotonic() - started
