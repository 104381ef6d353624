"""Search by a Milvus server, for an index that one machine cannot search.

A collection has the rows of one generation: the row number as primary key, the item's id, and the vector with its two
biases. SQLite stays the truth. Before a search the collection gets the rows that it lacks and loses those that are
gone; how far it is, is kept in its properties. What it finds is scored again with the vectors of SQLite, so that the
scores, and the order of equal ones, are those of every other engine, and a row that is gone is never shown.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from itembed_tf.errors import UsageError
from itembed_tf.extras import require
from itembed_tf.index.database import current_revision, identity
from itembed_tf.index.engines.following import FollowingEngine
from itembed_tf.index.engines.interface import Found
from itembed_tf.index.engines.milvus_rows import METRIC, VECTOR, copy_rows, make_collection
from itembed_tf.index.engines.parts import Part
from itembed_tf.index.engines.scan import Candidates, check_queries, ranked
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import current_generation
from itembed_tf.index.records import Generation
from itembed_tf.index.rows import count_rows, last_row, rows_numbered
from itembed_tf.locks import locked_file

SCHEME = "milvus:"
TOKEN = "ITEMBED_MILVUS_TOKEN"  # environment variable: USER:PASSWORD or an API key
MOST = 16_384  # results that Milvus gives for a query
ALLOWED_AT_A_TIME = 10_000  # ids in one filter expression
QUERIES_AT_A_TIME = 1_000
VISITED = 384  # lists of 1,024; fewer miss rows for queries by text, and HNSW misses more (benchmarks.milvus)


@dataclass(frozen=True)
class MilvusView:
    """One state of an index; see `View`. Rows that are deleted later are no longer found by it."""

    engine: MilvusEngine
    generation: int
    dimensions: int
    revision: int
    count: int
    collection: str = ""

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None) -> Found:
        """See `View.search`; at most 16,384 items are found for a query."""
        queries = check_queries(queries, k, self.dimensions)
        if not self.collection or not self.count:
            return ranked([], Candidates(*np.empty((3, 0), np.int64)), queries, k)
        limit = min(MOST, k + 10)
        filters = [""] if allowed is None else list(_filters(allowed))
        query, row = (np.concatenate(found) for found in zip(*self._candidates(queries, limit, filters)))
        rows = self.engine.rows(np.unique(row), self.generation, self.dimensions)
        position = np.searchsorted(rows.rows, row)
        known = np.flatnonzero(np.isin(row, rows.rows))
        candidates = Candidates(query[known], np.zeros(len(known), np.int64), position[known])
        return ranked([Part(rows)], candidates, queries, k)

    def _candidates(
        self, queries: NDArray[np.float32], limit: int, filters: list[str]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        yield np.empty(0, np.int64), np.empty(0, np.int64)
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            asked = list(queries[start : start + QUERIES_AT_A_TIME])
            for filter in filters:
                for number, rows in enumerate(self.engine.nearest(self.collection, asked, limit, filter)):
                    yield np.full(len(rows), start + number), np.array(rows, np.int64)


class MilvusEngine(FollowingEngine[MilvusView]):
    """See `Engine`. Several threads may use it at once. A collection that lacks rows gets them at the next refresh.

    Args:
        folder: of an index.
        address: ``milvus://host:port``, or ``milvus:///path/to/file.db`` for Milvus Lite.

    Raises:
        MissingExtra: pymilvus is not installed.
        UsageError: the address cannot be used.
        SearchIndexError: nothing answers at the address.
    """

    name = "milvus"
    note = ""

    def __init__(self, folder: str | Path, address: str) -> None:
        require("engine milvus")
        super().__init__(folder, MilvusView(self, 0, 0, -1, 0))
        self._address = address
        self._client = _client(address)

    def close(self) -> None:
        super().close()
        self._client.close()

    def rows(self, numbers: NDArray[np.int64], generation: int, dimensions: int) -> Any:
        """The rows with these numbers, as SQLite has them now."""
        with self._lock:
            return rows_numbered(self._connection, numbers, generation, dimensions)

    def nearest(self, collection: str, queries: list[Any], limit: int, filter: str) -> list[list[int]]:
        """Numbers of the rows that Milvus finds for each query."""
        with _reported(self._address):
            found = self._client.search(
                collection,
                queries,
                anns_field=VECTOR,
                limit=limit,
                filter=filter,
                output_fields=["row"],
                search_params={"metric_type": METRIC, "params": {"nprobe": VISITED}},
                consistency_level="Strong",
            )
        return [[hit["row"] for hit in hits] for hits in found]

    def _latest(self, connection: sqlite3.Connection) -> MilvusView:
        revision = current_revision(connection)
        if revision <= self._view.revision:
            return self._view
        generation = current_generation(connection)
        if generation is None:
            return MilvusView(self, 0, 0, revision, 0)
        name = f"itembed_{identity(connection)}_{generation.number}"
        count = count_rows(connection, generation.number, 0, last_row(connection))
        with self._exclusive(generation), _reported(self._address):
            state = make_collection(self._client, name, generation, self._address)
            if state.revision < revision:
                copy_rows(self._client, name, connection, generation, state)
        return MilvusView(self, generation.number, generation.dimensions, revision, count, name)

    def _exclusive(self, generation: Generation) -> Any:
        """One process of this machine at a time copies rows; the others wait. A disk that is read only has no lock."""
        file = self._folder / "derived" / f"milvus-{generation.number}"
        return locked_file(file) if os.access(self._folder, os.W_OK) else nullcontext()


def _filters(allowed: NDArray[np.int64]) -> Iterator[str]:
    for start in range(0, len(allowed), ALLOWED_AT_A_TIME):
        yield f"item in {allowed[start : start + ALLOWED_AT_A_TIME].tolist()}"


def _client(address: str) -> Any:
    from pymilvus import MilvusClient

    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it writes each error besides raising it
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host and port and not parts.path.strip("/"):
        uri = f"http://{host}:{port}"
    elif not parts.netloc and parts.path:
        uri = parts.path
    else:
        raise UsageError(
            f"engine {address!r}: give milvus://HOST:PORT, such as milvus://localhost:19530, or "
            "milvus:///PATH.db for a file of Milvus Lite"
        )
    with _reported(address):
        return MilvusClient(uri, token=os.environ.get(TOKEN, ""), timeout=10)


@contextmanager
def _reported(address: str) -> Iterator[None]:
    """Errors of Milvus as errors of ours."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as error:
        reason = " ".join(str(error.message).split())
        raise SearchIndexError(
            f"Milvus at {address}: {reason}; see that it runs, and that ${TOKEN} is set if it asks for a token"
        ) from None
