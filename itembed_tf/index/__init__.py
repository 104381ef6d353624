"""Search index: items, fields and vectors in SQLite, engines derived from it, and the search itself."""

from itembed_tf.index.sqlite_library import check_sqlite  # first: it loads SQLite

# isort: split
from itembed_tf.index.database import is_index, reading, snapshot, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.query_vectors import QueryVector
from itembed_tf.index.records import Answer, Facets, Generation, Hit, Item, NewItem, Query
from itembed_tf.index.searcher import Searcher, open_searcher

__all__ = [
    "Answer",
    "Facets",
    "Generation",
    "Hit",
    "Item",
    "NewItem",
    "Query",
    "QueryVector",
    "SearchIndexError",
    "Searcher",
    "check_sqlite",
    "is_index",
    "open_searcher",
    "reading",
    "snapshot",
    "writing",
]
