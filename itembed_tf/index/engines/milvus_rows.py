"""The collection of a generation in Milvus: its schema, how far it is, and the rows that it lacks."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from itembed_tf.index.database import current_revision
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.records import Generation
from itembed_tf.index.removals import removed_rows, removed_since
from itembed_tf.index.rows import count_rows, iterate_rows, last_row
from itembed_tf.progress import running_clock

VECTOR, METRIC = "vector", "IP"
INDEX = {"nlist": 1024}  # of IVF_FLAT, in each of Milvus's segments
SENT = 1_000  # rows in a message: 2 MB at 512 dimensions; a server takes up to 64 MB
NOTED = 50_000  # rows after which the properties are written, where an interrupted copy continues
SHOWN = 10_000  # rows from which a progress bar is shown, and from which Milvus's index is waited for
INDEXED_SECONDS = 600.0  # 100,000 rows take 20 seconds on two busy cores
CONTRACT, REVISION, ROW = "itembed.contract", "itembed.revision", "itembed.row"


@dataclass(frozen=True)
class Reached:
    """How far a collection is: it has every row up to number `row` that was there at `revision`; both 0 at first.

    `contract` is that of its vectors, "" where it is not known yet.
    """

    contract: str
    revision: int
    row: int


def make_collection(client: Any, name: str, generation: Generation, address: str) -> Reached:
    """Make the collection if there is none, load it, and say how far it is.

    Raises:
        SearchIndexError: there is one of other encoders.
    """
    from pymilvus import DataType, MilvusClient

    if not client.has_collection(name):
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", DataType.INT64, is_primary=True)
        schema.add_field("item", DataType.INT64)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=generation.dimensions + 2)
        index = MilvusClient.prepare_index_params()
        index.add_index(VECTOR, index_type="IVF_FLAT", metric_type=METRIC, params=INDEX)
        client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    found = client.describe_collection(name)
    properties = found.get("properties") or {}
    state = Reached(properties.get(CONTRACT, ""), int(properties.get(REVISION, 0)), int(properties.get(ROW, 0)))
    width = [field["params"].get("dim") for field in found["fields"] if field["name"] == VECTOR]
    if state.contract not in ("", generation.image_contract) or [int(w) for w in width] != [generation.dimensions + 2]:
        raise SearchIndexError(
            f"the collection {name} of {address} has vectors of other encoders (contract {state.contract[:16]}) than "
            f"the index ({generation.image_contract[:16]}); drop it, or use another server"
        )
    client.load_collection(name)
    return state


def copy_rows(client: Any, name: str, connection: sqlite3.Connection, generation: Generation, before: Reached) -> None:
    """Bring a collection from the state `before` to that of the connection's snapshot."""
    now, last = current_revision(connection), last_row(connection)
    if before.row and before.revision < removed_since(connection):
        # Which of its rows are gone is no longer known.
        client.delete(name, filter="row >= 0")
        before = Reached(generation.image_contract, 0, 0)
    gone = removed_rows(connection, generation.number, before.revision)
    for start in range(0, len(gone), SENT):
        client.delete(name, ids=gone[start : start + SENT].tolist())
    count = count_rows(connection, generation.number, before.row, last)
    with tqdm(total=count, unit="rows", desc="copying to Milvus", disable=count < SHOWN) as bar:
        noted = 0
        for chunk in iterate_rows(connection, generation.number, generation.dimensions, before.row, last):
            vectors = np.concatenate([chunk.vectors.astype(np.float32), -chunk.biases], axis=1)
            for start in range(0, len(chunk), SENT):
                block = slice(start, start + SENT)
                rows = zip(chunk.rows[block].tolist(), chunk.items[block].tolist(), vectors[block])
                client.upsert(name, [{"row": row, "item": item, VECTOR: vector} for row, item, vector in rows])
            bar.update(len(chunk))
            noted += len(chunk)
            if noted >= NOTED:
                _note(client, name, Reached(generation.image_contract, now, int(chunk.rows[-1])))
                noted = 0
    if count >= SHOWN:
        _wait_for_index(client, name)
    _note(client, name, Reached(generation.image_contract, now, max(last, before.row)))


def _wait_for_index(client: Any, name: str) -> None:
    """Wait until Milvus has indexed all rows and has loaded the index.

    Until then it searches them by an index of its own, which misses several rows in a hundred and is slower. Nothing is
    lost where it takes longer than `INDEXED_SECONDS`: Milvus goes on with it while it is searched.
    """
    client.flush(name)  # rows that wait for more would not be indexed

    def pending() -> bool:
        return bool(client.describe_index(name, VECTOR).get("pending_index_rows"))

    def loaded() -> bool:
        return all(each.index_name for each in client.list_loaded_segments(name) if each.num_rows)

    if not pending():  # Milvus Lite, which indexes at once; its `refresh_load` never returns
        return
    with running_clock("Milvus indexes the rows"):
        deadline = time.monotonic() + INDEXED_SECONDS
        while pending() and time.monotonic() < deadline:
            time.sleep(0.5)
        client.refresh_load(name)
        while not loaded() and time.monotonic() < deadline:
            time.sleep(0.5)


def _note(client: Any, name: str, state: Reached) -> None:
    values = {CONTRACT: state.contract, REVISION: str(state.revision), ROW: str(state.row)}
    client.alter_collection_properties(name, values)
