"""Filters: an SQL expression over the fields of items, such as ``year >= 2020 and folder like 'holidays%'``.

SQLite evaluates it, on a connection that cannot write. What is admitted is decided twice: every word of the expression
must be a field, a function of `FUNCTIONS` or a keyword of `KEYWORDS`, so that errors can say what is wrong; and an
authorizer of SQLite denies every action but reading the fields (https://www.sqlite.org/c3ref/set_authorizer.html).
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from itembed_tf.errors import did_you_mean
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.fields import FIELDS, VIEW, Field, create_view, user_fields

_KEYWORDS = """and or not in like glob escape between is null isnull notnull case when then else end cast as integer
    real text numeric collate nocase true false distinct from"""
_FUNCTIONS = """abs coalesce date datetime glob ifnull iif instr julianday length like lower ltrim max min nullif round
    rtrim strftime substr time trim typeof unicode upper"""
KEYWORDS, FUNCTIONS = frozenset(_KEYWORDS.split()), frozenset(_FUNCTIONS.split())
INSIDE_VIEW = FUNCTIONS | {"json_extract", "json_each", "group_concat", "char"}  # what the view itself calls
SUBQUERIES = ("select", "with", "values", "exists", "union")
MAX_LENGTH, SHOWN = 4_000, 120  # characters of an expression, and of it in an error
SECONDS = 5.0  # of the processor, for one evaluation
INSTRUCTIONS = 1_000  # of SQLite's virtual machine between two looks at the clock
LIMITS = {  # by name in sqlite3; `setlimit` is new in Python 3.11
    "SQLITE_LIMIT_LENGTH": 4_000_000,
    "SQLITE_LIMIT_EXPR_DEPTH": 100,
    "SQLITE_LIMIT_LIKE_PATTERN_LENGTH": 500,
}
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>--|/\*)|(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`|\[[^]]*])
    |(?P<number>\d[\w.]*|\.\d\w*)|(?P<word>[^\W\d]\w*)|(?P<operator>[-+*/%<>=!|&~(),.])|(?P<other>.)""",
    re.X | re.S,
)


class FilterError(SearchIndexError):
    """A filter that cannot be used; the message says where, and which fields and functions there are."""


def matching_items(
    connection: sqlite3.Connection, where: str, columns: dict[str, Field] | None = None
) -> NDArray[np.int64]:
    """Ids of the items that a filter admits, sorted, int64 [n].

    Args:
        connection: read-only, of an index; best in a transaction, which is rolled back.
        where: SQL expression over `fields.FIELDS` and the user's columns.
        columns: what `user_fields` returned for this state of the index; None: it is called.

    Raises:
        FilterError: an unknown field or function, wrong syntax, anything but an expression, or one that takes more
            than five seconds.
    """
    columns = user_fields(connection) if columns is None else columns
    check_expression(where, [*FIELDS, *columns])
    create_view(connection, columns)
    with _restricted(connection):
        try:
            rows = connection.execute(f"SELECT item_id FROM temp.{VIEW} WHERE ({where})").fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise FilterError(_reason(where, error)) from None
    return np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))


def check_expression(where: str, fields: Iterable[str]) -> None:
    """Raises FilterError for a filter that has anything but fields, values, operators and allowed functions."""
    if len(where) > MAX_LENGTH:
        raise FilterError(f"the filter has {len(where):,} characters; at most {MAX_LENGTH:,} are allowed")
    names = {name.lower(): name for name in fields}
    depth = 0
    tokens = [match for match in _TOKEN.finditer(where) if match.lastgroup != "space"]
    for i, token in enumerate(tokens):
        text = token.group()
        called = i + 1 < len(tokens) and tokens[i + 1].group() == "("
        if token.lastgroup == "word":
            _check_word(where, text, called, names)
        elif token.lastgroup == "quoted":
            _check_quoted(where, text, names)
        elif token.lastgroup == "comment":
            raise FilterError(f"{_shown(where)}: comments ({text}) are not allowed")
        elif token.lastgroup == "other":
            raise FilterError(f"{_shown(where)}: {_unexpected(text)}")
        depth += (text == "(") - (text == ")")
        if depth < 0:
            break
    if depth:
        raise FilterError(f"{_shown(where)}: a parenthesis has no partner")
    if not tokens:
        raise FilterError("the filter is empty; write an expression such as year >= 2020")


def _check_word(where: str, word: str, called: bool, names: dict[str, str]) -> None:
    lower = word.lower()
    if lower in SUBQUERIES and lower not in names:
        raise FilterError(f"{_shown(where)}: {word} is not allowed; a filter is one expression, without subqueries")
    if called and lower not in KEYWORDS:
        if lower not in FUNCTIONS:
            known = f"the functions are: {', '.join(sorted(FUNCTIONS))}"
            raise FilterError(f"{_shown(where)}: no function {word!r}{did_you_mean(lower, FUNCTIONS)}; {known}")
    elif lower not in names and lower not in KEYWORDS:
        raise FilterError(f"{_shown(where)}: no field {word!r}{_fields(word, names)}")


def _check_quoted(where: str, quoted: str, names: dict[str, str]) -> None:
    name = quoted[1:-1].replace('""', '"') if quoted[0] == '"' else quoted[1:-1]
    if name.lower() not in names:
        hint = f"text is written in single quotes: '{name}'"
        raise FilterError(f"{_shown(where)}: {quoted} names a field, and there is none; {hint}{_fields(name, names)}")


def _fields(word: str, names: dict[str, str]) -> str:
    return f"{did_you_mean(word.lower(), names)}; the fields are: {', '.join(names.values())}"


def _unexpected(text: str) -> str:
    if text in "'\"`[":
        return f"the quotation that begins with {text} has no end"
    if text in "?:@$#":
        return f"parameters ({text}) are not allowed; write the value itself, text in single quotes"
    return f"{text!r} is not allowed; a filter is one SQL expression, such as year >= 2020"


def _shown(where: str) -> str:
    return f"filter {where if len(where) <= SHOWN else where[:SHOWN] + ' ...'!r}"


def _reason(where: str, error: Exception) -> str:
    message = str(error)
    if "interrupted" in message:
        return f"{_shown(where)} took more than {SECONDS:.0f} s; make it simpler"
    if "not authorized" in message or "prohibited" in message:
        return f"{_shown(where)}: it may only read fields ({message})"
    return f"{_shown(where)}: {message}; a filter is one SQL expression, such as year >= 2020 and name like '%.png'"


@contextmanager
def _restricted(connection: sqlite3.Connection) -> Iterator[None]:
    """Deny everything but the reading of fields, and bound time and sizes, for the statements of the block."""
    end = time.thread_time() + SECONDS
    limits = {getattr(sqlite3, name): value for name, value in LIMITS.items() if hasattr(sqlite3, name)}
    before = {kind: connection.setlimit(kind, value) for kind, value in limits.items()}
    connection.set_progress_handler(lambda: time.thread_time() > end, INSTRUCTIONS)
    connection.set_authorizer(_authorize)
    try:
        yield
    finally:
        connection.set_authorizer(_authorize_all)  # None is allowed from Python 3.11 on
        connection.set_progress_handler(None, 0)
        for kind, value in before.items():
            connection.setlimit(kind, value)


def _authorize(action: int, first: str | None, second: str | None, database: str | None, view: str | None) -> int:
    if action == sqlite3.SQLITE_SELECT:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_READ and (first == VIEW or view == VIEW):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and second is not None:
        allowed = INSIDE_VIEW if view == VIEW else FUNCTIONS
        return sqlite3.SQLITE_OK if second.lower() in allowed else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY


def _authorize_all(*_: object) -> int:
    return sqlite3.SQLITE_OK
