"""The fields that a filter may use: those that every item has, and the user's own columns."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

VIEW = "filtered_items"
USER_PREFIX = "user_"  # of a column of the user that has the name of a field
MAX_COLUMNS = 500  # SQLite allows 2,000 in a view


class Field(NamedTuple):
    """A field: its SQL over the table `items`, and what it is."""

    sql: str
    meaning: str


FIELDS = {
    "path": Field("place", "absolute path of the file; for a row of a table, the table's path, # and the row"),
    "name": Field("name", "name of the file"),
    "folder": Field("folder", "folder of the file, relative to what was indexed; empty at its top"),
    "date": Field("date", "ISO 8601, such as 2024-07-31T18:05:00: when the photograph was taken, else the file's time"),
    "year": Field("CAST(substr(date, 1, 4) AS INTEGER)", "of the date, a number"),
    "month": Field("CAST(substr(date, 6, 2) AS INTEGER)", "of the date, 1 to 12"),
    "width": Field("width", "pixels"),
    "height": Field("height", "pixels"),
    "bytes": Field("size", "size of the image file"),
    "kind": Field("kind", "'image' or 'text'"),
    "captions": Field(
        "(SELECT group_concat(value, char(10)) FROM json_each(items.captions))", "all captions, one a line"
    ),
}


def user_fields(connection: sqlite3.Connection) -> dict[str, Field]:
    """The user's columns by name. SQL ignores case: names that differ in case alone are one field.

    A column named as one of `FIELDS` gets the prefix ``user_``.
    """
    rows = connection.execute(
        "SELECT DISTINCT key FROM items, json_each(items.fields) WHERE items.fields != '{}' ORDER BY key"
    )
    spellings: dict[str, list[str]] = {}
    for (key,) in rows:
        if '"' not in key and "\\" not in key and "\0" not in key:  # which a JSON path cannot express
            spellings.setdefault(key.lower(), []).append(key)
    found = {}
    for keys in list(spellings.values())[:MAX_COLUMNS]:
        name = USER_PREFIX + keys[0] if keys[0].lower() in FIELDS else keys[0]
        values = ", ".join(f"json_extract(fields, {_text(_path(key))})" for key in keys)
        found[name] = Field(f"coalesce({values})" if len(keys) > 1 else values, "a column of yours")
    return found


def create_view(connection: sqlite3.Connection, columns: dict[str, Field]) -> None:
    """Make the temporary view of all fields, with the id of the item as ``item_id``."""
    fields = {**FIELDS, **columns}
    described = ", ".join(f"{field.sql} AS {_name(name)}" for name, field in fields.items())
    connection.execute(f"CREATE TEMP VIEW IF NOT EXISTS {VIEW} AS SELECT id AS item_id, {described} FROM main.items")


def _path(key: str) -> str:
    return f'$."{key}"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
