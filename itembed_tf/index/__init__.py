"""Search index: items, fields and vectors in SQLite, engines derived from it, and the search itself."""

from itembed_tf.index.database import is_index, reading, snapshot, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.records import Answer, Generation, Hit, Item, NewItem, Query

__all__ = [
    "Answer",
    "Generation",
    "Hit",
    "Item",
    "NewItem",
    "Query",
    "SearchIndexError",
    "is_index",
    "reading",
    "snapshot",
    "writing",
]
