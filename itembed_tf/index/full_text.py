"""Full-text search in captions, file names and folders, by SQLite's FTS5 and its BM25 (https://www.sqlite.org/fts5.html).

The words of a query are quoted, so that none of them is read as syntax. The last one also matches as the beginning of a
word, for results while the user types.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("caption", "name", "folder")  # what `found_by` calls the columns of the table `texts`
WEIGHTS = (1.0, 1.0, 0.5)  # of these columns in BM25
MAX_WORDS = 32
MIN_PREFIX = 2  # letters; fewer would match most of an index
_WORD = re.compile(r"[^\W_]+")
_START, _END = "\x02", "\x03"  # around what matched
_MATCHED = re.compile(f"{_START}(.*?){_END}", re.S)


@dataclass(frozen=True)
class TextHit:
    """An item that the full-text search found.

    Attributes:
        id: of the item.
        found_by: those of `COLUMNS` in which a word was found.
        share: of the query's words that it has, each weighted by its inverse document frequency; 0 to 1.
    """

    id: int
    found_by: tuple[str, ...]
    share: float


def search_texts(
    connection: sqlite3.Connection,
    text: str,
    limit: int,
    *,
    minus: str = "",
    allowed: NDArray[np.int64] | None = None,
    counts: dict[str, int] | None = None,
    common: bool = True,
) -> list[TextHit]:
    """Items whose captions, name or folder have words of a text, best first by BM25.

    Args:
        text: the user's words; an item need not have all.
        limit: hits to return at most.
        minus: an item that has all words of this text is left out.
        allowed: ids of the items to search; None: all.
        counts: numbers of items by term, which are kept here from one call to the next while the index is the same.
        common: whether to rank items by words that more than half of them have, where the text has no others. Their
            `share` is 0.
    """
    words, without = _words(text), _words(minus)
    if not words:
        return []
    terms = [_term(word, prefix=i == len(words) - 1) for i, word in enumerate(words)]
    weights = _weights(connection, terms, limit, {} if counts is None else counts)
    # A word of more than half of the items says nothing, and would make SQLite rank nearly all of them.
    telling = [term for term, weight in zip(terms, weights) if weight > 0]
    if not telling and not common:
        return []
    match = " OR ".join(telling or terms)
    if without:
        match = f"({match}) NOT ({' AND '.join(map(_term, without))})"
    condition, values = "", [match, f"bm25({', '.join(map(str, WEIGHTS))})"]
    if allowed is not None:  # the + keeps SQLite from looking up each id by itself
        condition = "AND +rowid IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(allowed.tolist()))
    marked = ", ".join(f"highlight(texts, {i}, '{_START}', '{_END}')" for i in range(len(COLUMNS)))
    found = connection.execute(
        f"SELECT rowid, rank, {marked} FROM texts WHERE texts MATCH ? AND rank MATCH ? {condition} "
        "ORDER BY rank LIMIT ?",
        (*values, limit),
    ).fetchall()
    found.sort(key=lambda row: (row[1], row[0]))
    return [_hit(row[0], row[2:], words, weights) for row in found]


def _words(text: str) -> list[str]:
    """The different words of a text, in order, as FTS5's tokenizer finds them: runs of letters and numbers."""
    return list(dict.fromkeys(map(_fold, _WORD.findall(unicodedata.normalize("NFC", text)))))[:MAX_WORDS]


@lru_cache(10_000)
def _fold(word: str) -> str:
    """Lower case without accents, as ``unicode61 remove_diacritics 2`` has it."""
    if word.isascii():
        return word.lower()
    return "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))


def _term(word: str, prefix: bool = False) -> str:
    return f'"{word}"' + (" *" if prefix and len(word) >= MIN_PREFIX else "")


def _weights(connection: sqlite3.Connection, terms: Sequence[str], limit: int, counts: dict[str, int]) -> list[float]:
    """Inverse document frequencies of terms: log(1 + (N - n + 0.5) / (n + 0.5)), for n of N items.

    0 for a term that is in more than half of the items and in more than `limit`: what is found first is then arbitrary.
    A term that no item has weighs no more than the rarest one that is found: it may be misspelt.
    """
    total = connection.execute("SELECT count(*) FROM items").fetchone()[0]
    query = "SELECT count(*) FROM texts WHERE texts MATCH ?"
    for term in terms:
        if term not in counts:
            counts[term] = connection.execute(query, (term,)).fetchone()[0]
    found = [counts[term] for term in terms]
    weights = [0.0 if n > max(total / 2, limit) else math.log1p((total - n + 0.5) / (n + 0.5)) for n in found]
    rarest = max((weight for weight, n in zip(weights, found) if n), default=1.0)
    return [weight if n else rarest for weight, n in zip(weights, found)]


def _hit(id: int, marked: Sequence[str], words: Sequence[str], weights: Sequence[float]) -> TextHit:
    matched = [set(map(_fold, set(_MATCHED.findall(column or "")))) for column in marked]
    found_by = tuple(name for name, column in zip(COLUMNS, matched) if column)
    every = set().union(*matched)
    has = [word in every for word in words]
    has[-1] = has[-1] or any(word.startswith(words[-1]) for word in every)
    total = sum(weights)
    share = sum(weight for weight, found in zip(weights, has) if found) / total if total else 0.0
    return TextHit(id, found_by, share)
