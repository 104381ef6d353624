"""`Searcher`: search in an index by text, image, item and filter."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from itembed_tf.errors import UsageError
from itembed_tf.index.connections import Connections
from itembed_tf.index.database import current_revision
from itembed_tf.index.encoding import EncodedQuery, QueryEncoder
from itembed_tf.index.engines import Engine, View, open_engine
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.fields import FIELDS
from itembed_tf.index.generations import current_generation
from itembed_tf.index.hits import DATED, distinct, hits, newest_first
from itembed_tf.index.items import read_items
from itembed_tf.index.query_vectors import QueryVector
from itembed_tf.index.ranking import Ranking, rank
from itembed_tf.index.records import Answer, Facets, Generation, Item, Query
from itembed_tf.index.search_state import SearchState
from itembed_tf.index.shown import ShownCounter
from itembed_tf.index.text_encoder import EmbeddedTexts
from itembed_tf.retrieval.calibration import Calibration

MAX_LIMIT = 1_000  # hits of one answer
NOTHING = Ranking([], {}, frozenset(), True)


@dataclass(frozen=True)
class Moment:
    """One state of the index, in which all of a query happens.

    Attributes:
        connection: within a read transaction.
        view: of the engine.
        state: what is kept of this revision.
        generation: None in an index to which nothing was added yet.
    """

    connection: sqlite3.Connection
    view: View
    state: SearchState
    generation: Generation | None


class Searcher:
    """Search in an index; `open_searcher` makes one. Several threads may use one at once.

    Each call sees the index as the last committed transaction left it, also that of another process.

    Attributes:
        folder: of the index.
        note: a sentence for the user about the engine; "" if there is none.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.note = engine.note
        self._engine = engine
        self._connections = Connections(folder)
        self._encoder = QueryEncoder(folder)
        self._state = SearchState(-1)
        self._shown = ShownCounter(folder)
        self._lock = Lock()

    def search(self, query: Query, vector: QueryVector | None = None) -> Answer:
        """The hits of a query. One without text, image, item and vector lists all items, the newest first.

        Args:
            vector: of the query, if it is known; its image is then not encoded. The encoders must be those of the
                index: compare their contract hash with that of `generation`.

        Raises:
            UsageError: values that do not fit together, or out of range.
            FilterError: see `itembed_tf.index.filters.matching_items`.
            SearchIndexError: no item of this id, an image that cannot be read, or a damaged index.
        """
        check_query(query, vector)
        with self._moment() as moment:
            answer = self._answer(moment, query, vector)
        if asks(query, vector):
            self._shown.add(hit.item.id for hit in answer.hits)
        return answer

    def facets(self, where: str = "") -> Facets:
        """How many items each folder, year and kind has, of those that a filter admits; FilterError as `search`."""
        with self._moment() as moment:
            return moment.state.facets(moment.connection, where)

    def count(self, where: str = "") -> int:
        """Number of items that a filter admits; FilterError as `search`."""
        with self._moment() as moment:
            allowed = moment.state.allowed(moment.connection, where)
            return moment.state.count(moment.connection) if allowed is None else len(allowed)

    def fields(self) -> dict[str, str]:
        """The fields that a filter may use, and what each is."""
        with self._moment() as moment:
            every = {**FIELDS, **moment.state.columns(moment.connection)}
            return {name: field.meaning for name, field in every.items()}

    def item(self, id: int) -> Item:
        """An item; SearchIndexError if there is none of this id."""
        with self._connections.lent() as connection:
            found = read_items(connection, [id])
        if not found:
            raise SearchIndexError(f"the index {self.folder} has no item {id}; it may have been deleted")
        return found[0]

    def items(self, ids: Sequence[int]) -> dict[int, Item]:
        """Items by id; those that are gone are left out."""
        with self._connections.lent() as connection:
            return {item.id: item for item in read_items(connection, ids)}

    def copies(self, id: int) -> list[Item]:
        """All items of the content of an item, itself included; none if it is gone."""
        with self._connections.lent() as connection:
            query = "SELECT id FROM items WHERE content = (SELECT content FROM items WHERE id = ?) ORDER BY id"
            return read_items(connection, [row[0] for row in connection.execute(query, (id,)).fetchall()])

    def thumbnail(self, id: int) -> bytes | None:
        """A small WebP or JPEG file; None for a sentence, or an item that is gone."""
        with self._connections.lent() as connection:
            query = "SELECT image FROM thumbnails JOIN items USING (content) WHERE items.id = ?"
            row = connection.execute(query, (id,)).fetchone()
        return bytes(row[0]) if row else None

    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """Texts as vectors of the space that is searched; SearchIndexError for an index without encoders."""
        with self._moment() as moment:
            if moment.generation is None:
                raise SearchIndexError(f"{self.folder} has no encoders yet: nothing was added to it")
            return self._encoder.embed_texts(moment.connection, moment.generation, texts)

    @property
    def generation(self) -> Generation | None:
        """The generation that is searched; None in an index to which nothing was added yet."""
        with self._connections.lent() as connection:
            return current_generation(connection)

    def calibration(self) -> Calibration | None:
        """What was measured of the encoders: bands and the hubness correction; None for an index without."""
        with self._moment() as moment:
            if moment.generation is None:
                return None
            return self._encoder.calibration(moment.connection, moment.generation)

    def close(self) -> None:
        """Close the connections; a call that is running may still end."""
        self._shown.write()
        self._connections.close()
        self._engine.close()

    @contextmanager
    def _moment(self) -> Iterator[Moment]:
        """One state of the index for all that the block reads."""
        with self._connections.lent() as connection:
            # One thread at a time begins, so that the engine only ever goes on to a later state.
            with self._lock:
                connection.execute("BEGIN")
                try:
                    revision = current_revision(connection)
                    if revision != self._state.revision:
                        self._state = SearchState(revision)
                    state, view = self._state, self._engine.refresh(connection)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
            try:
                yield Moment(connection, view, state, current_generation(connection))
            finally:
                connection.execute("ROLLBACK")

    def _answer(self, moment: Moment, query: Query, vector: QueryVector | None) -> Answer:
        connection, generation = moment.connection, moment.generation
        allowed = moment.state.allowed(connection, query.where)
        matching = moment.state.count(connection) if allowed is None else len(allowed)
        if generation is None:
            return Answer((), matching, (), ("the index is empty",), 0)
        if not asks(query, vector):
            ids = moment.state.newest(connection, query.where)[query.offset : query.offset + query.limit].tolist()
            return Answer(hits(connection, 0, ids, NOTHING, None, None), matching, (), (), generation.number)
        encoded = self._encoder.encode(connection, generation, query, vector)
        ids, ranking = self._ranked(moment, query, encoded)
        # Bands were measured on plain queries, of captions.
        calibration = None if query.minus or encoded.taught else self._encoder.calibration(connection, generation)
        found = hits(connection, generation.number, ids, ranking, encoded.vector, calibration)
        return Answer(found, matching, encoded.unknown_words, encoded.notes, generation.number)

    def _ranked(self, moment: Moment, query: Query, encoded: EncodedQuery) -> tuple[list[int], Ranking]:
        connection = moment.connection
        if encoded.vector is None and query.by == "vector":
            return [], NOTHING
        allowed = moment.state.allowed(connection, query.where)

        def ranking(count: int) -> Ranking:
            counts = moment.state.term_counts()
            return rank(connection, moment.view, query, encoded.vector, allowed, count, counts)

        count = DATED if query.sort == "date" else query.offset + query.limit
        ids, found = distinct(connection, ranking, count, encoded.leave_out)
        if query.sort == "date":
            ids = newest_first(connection, ids)
        return ids[query.offset : query.offset + query.limit], found


def open_searcher(folder: str | Path, engine: str = "auto") -> Searcher:
    """A searcher of the index `folder`.

    Args:
        engine: see `itembed_tf.index.engines.open_engine`.

    Raises:
        SearchIndexError: `folder` is not an index, or not one that this version reads.
        UsageError: there is no such engine.
    """
    return Searcher(Path(folder), open_engine(folder, engine))


def asks(query: Query, vector: QueryVector | None = None) -> bool:
    """Whether a query looks for something; if not, all items are listed."""
    return bool(query.text) or query.image is not None or query.like is not None or vector is not None


def check_query(query: Query, vector: QueryVector | None = None) -> None:
    """Raises UsageError for a query that cannot be answered."""
    if vector is not None and (query.text or query.like is not None):
        raise UsageError("a query by vector has no text and no item")
    sources = [query.text != "", query.image is not None, query.like is not None]
    if sum(sources) > 1:
        raise UsageError("a query has a text, an image or an item, and only one of them")
    if query.minus and not any(sources) and vector is None:
        raise UsageError("minus is subtracted from a text, an image or an item; the query has none of them")
    if query.by == "text" and (query.image is not None or query.like is not None):
        raise UsageError('by "text" needs a text; an image or an item is found by vector')
    if query.by not in ("both", "vector", "text") or query.sort not in ("relevance", "date"):
        raise UsageError("by is both, vector or text; sort is relevance or date")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise UsageError(f"limit is {query.limit}; it must be 1 to {MAX_LIMIT:,}")
    if query.offset < 0:
        raise UsageError(f"offset is {query.offset}; it must be 0 or more")
