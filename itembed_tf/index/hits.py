"""From ranked ids to hits: one for each content, with scores, and sorted by date where that is asked for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.items import CHUNK, read_items, read_vectors
from itembed_tf.index.query_vectors import QueryVector, Side
from itembed_tf.index.ranking import Ranking
from itembed_tf.index.records import Hit, Kind
from itembed_tf.retrieval.calibration import Calibration, Direction

_DIRECTIONS: dict[tuple[Side, Kind], Direction] = {  # which a calibration measures
    ("text", "image"): "text_to_image",
    ("image", "image"): "image_to_image",
    ("image", "text"): "image_to_text",
}
WITHIN = "WHERE id IN (SELECT value FROM json_each(?))"  # ids as a JSON list
DATED = 200  # best hits that sort="date" puts in order


def distinct(
    connection: sqlite3.Connection, rank: Callable[[int], Ranking], count: int, leave_out: str
) -> tuple[list[int], Ranking]:
    """The best item of each content, `count` of them or all, and the ranking in which they are.

    Args:
        rank: the ranking with at least so many hits.
        leave_out: a content that is no hit.
    """
    asked = count + 16  # most contents have one place
    while True:
        ranking = rank(asked)
        contents = _contents(connection, ranking.ids)
        seen, ids = {leave_out}, []
        for id in ranking.ids:
            content = contents.get(id)
            if content is not None and content not in seen:
                seen.add(content)
                ids.append(id)
        if len(ids) >= count or ranking.complete:
            return ids[:count], ranking
        asked *= 4


def hits(
    connection: sqlite3.Connection,
    generation: int,
    ids: Sequence[int],
    ranking: Ranking,
    vector: QueryVector | None,
    calibration: Calibration | None,
) -> tuple[Hit, ...]:
    """Hits with cosines, computed from the vectors that the index has, and with bands if there is a calibration."""
    items = read_items(connection, ids)
    copies = count_copies(connection, [item.content for item in items])
    near = [item for item in items if item.id in ranking.by_vector]
    scores: dict[int, float] = {}
    bands: dict[int, str] = {}
    if vector is not None and near:
        vectors = read_vectors(connection, [item.id for item in near], generation)
        cosines = np.clip(np.vecdot(vectors, vector.vector) / np.linalg.norm(vectors, axis=1), -1, 1)
        scores = {item.id: float(cosine) for item, cosine in zip(near, cosines)}
        if calibration is not None:
            biases = _biases(connection, generation, vector.side, list(scores))
            bands = {
                item.id: calibration.band(_DIRECTIONS[vector.side, item.kind], scores[item.id] - biases[item.id])
                for item in near
                if (vector.side, item.kind) in _DIRECTIONS
            }
    return tuple(
        Hit(item, scores.get(item.id), bands.get(item.id, ""), ranking.found_by(item.id), copies[item.content])
        for item in items
    )


def newest_first(connection: sqlite3.Connection, ids: Sequence[int]) -> list[int]:
    """Ids by date, the newest first, those without one last; equal dates stay in order."""
    dates = dict(_select(connection, "id, date", ids))
    return sorted(sorted(ids, key=lambda id: dates[id] or "", reverse=True), key=lambda id: dates[id] is None)


def newest_contents(connection: sqlite3.Connection, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """One item of each content, int64 [n], the newest first and those without a date last.

    Args:
        allowed: ids of the items to list; None: all.
    """
    condition, values = ("", ()) if allowed is None else (WITHIN, (json.dumps(allowed.tolist()),))
    rows = connection.execute(
        f"SELECT min(id) FROM items {condition} GROUP BY content ORDER BY max(date) DESC, 1", values
    )
    return np.fromiter((row[0] for row in rows), np.int64)


def count_copies(connection: sqlite3.Connection, contents: Collection[str]) -> dict[str, int]:
    """Number of items of each content."""
    wanted = list(dict.fromkeys(contents))
    found: dict[str, int] = {}
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        marks = ",".join("?" * len(chunk))
        query = f"SELECT content, count(*) FROM items WHERE content IN ({marks}) GROUP BY content"
        found.update(connection.execute(query, chunk))
    return found


def _biases(connection: sqlite3.Connection, generation: int, side: Side, ids: Sequence[int]) -> dict[int, float]:
    column = "text_bias" if side == "text" else "image_bias"
    found: dict[int, float] = {}
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        marks = ",".join("?" * len(chunk))
        query = f"SELECT item, {column} FROM vectors WHERE generation = ? AND item IN ({marks})"
        found.update(connection.execute(query, (generation, *chunk)))
    return found


def _contents(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, str]:
    return dict(_select(connection, "id, content", ids))


def _select(connection: sqlite3.Connection, columns: str, ids: Sequence[int]) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        marks = ",".join("?" * len(chunk))
        found += connection.execute(f"SELECT {columns} FROM items WHERE id IN ({marks})", chunk)
    return found
