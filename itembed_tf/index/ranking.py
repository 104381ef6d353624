"""The order of the hits of a query: by vector, by full text, or by both, fused."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.engines import View
from itembed_tf.index.full_text import TextHit, search_texts
from itembed_tf.index.fusion import reciprocal_rank_fusion
from itembed_tf.index.query_vectors import QueryVector
from itembed_tf.index.records import Query

FUSED = 200  # hits of each ranking that are fused; the vectors' ranking goes on after them
MIN_SHARE = 0.5  # of the words of a query, by weight, that an item must have to be fused; see `TextHit.share`


@dataclass(frozen=True)
class Ranking:
    """Hits of a query, best first.

    Attributes:
        ids: of the items.
        by_text: what the full text found, by id.
        by_vector: ids that the vectors found.
        complete: whether there are no more.
    """

    ids: list[int]
    by_text: dict[int, TextHit]
    by_vector: frozenset[int]
    complete: bool

    def found_by(self, id: int) -> tuple[str, ...]:
        """See `Hit.found_by`."""
        vector = ("vector",) if id in self.by_vector else ()
        return vector + (self.by_text[id].found_by if id in self.by_text else ())


def rank(
    connection: sqlite3.Connection,
    view: View,
    query: Query,
    vector: QueryVector | None,
    allowed: NDArray[np.int64] | None,
    count: int,
    counts: dict[str, int] | None = None,
) -> Ranking:
    """The first `count` hits of a query, or more.

    Args:
        vector: of the query; None: only the full text is searched.
        allowed: sorted ids of the items to search; None: all.
        counts: see `search_texts`.
    """
    limit = count if vector is None else FUSED  # fused lists have a fixed length, so that pages do not overlap
    text = "" if query.by == "vector" else query.text
    alone = vector is None  # to rank nearly all items by a common word takes longer than the rest of a search
    texts = search_texts(connection, text, limit, minus=query.minus, allowed=allowed, counts=counts, common=alone)
    if vector is None:
        return Ranking([hit.id for hit in texts], {hit.id: hit for hit in texts}, frozenset(), len(texts) < count)
    texts = [hit for hit in texts if hit.share >= MIN_SHARE]
    wanted = max(count, FUSED) if texts else count
    items, _ = view.search(vector.row(query.corrected), wanted, allowed)
    nearest = [int(id) for id in items[0] if id >= 0]
    ids = nearest
    if texts:
        ids = reciprocal_rank_fusion([nearest[:FUSED], [hit.id for hit in texts]])
        fused = set(ids)
        ids += [id for id in nearest[FUSED:] if id not in fused]
    return Ranking(ids, {hit.id: hit for hit in texts}, frozenset(nearest), len(nearest) < wanted)
