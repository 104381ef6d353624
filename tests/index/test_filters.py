"""Filters: what an expression finds, what it may not do, and what its errors say."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from itembed_tf.index.database import reading, snapshot
from itembed_tf.index.fields import create_view
from itembed_tf.index.filters import FilterError, matching_items
from tests.support.small_index import new_item, write_index

ITEMS = [
    new_item(
        "holidays/a.jpg", [1, 0], date="2019-12-31T23:59:59", width=100, height=50, size=9, captions=("it's red",)
    ),
    new_item("holidays/b.png", [1, 0], date="2020-01-01T00:00:00", fields={"Stars": 5, "order": "x", "date": "May"}),
    new_item("c.jpg", [1, 0], date="2024-07-31T18:05:00", width=300, fields={"stars": 3, 'a"b': 1, "it's": True}),
    new_item("d.jpg", [1, 0], captions=("two", 'a "dog"')),
]
FOUND = {
    "year >= 2020": [2, 3],
    "year >= 2020 and folder like '%/holidays'": [2],
    "month = 7 or width = 100": [1, 3],
    "bytes < 10 AND height BETWEEN 40 AND 60": [1],
    "captions like '%\"dog\"%'": [4],
    "captions like 'it''s%'": [1],
    "date is null": [4],
    "date < '2020'": [1],
    "stars >= 3": [2, 3],  # one field, whatever the case of the columns
    "\"order\" = 'x' -1 + 1": [],
    "\"order\" = 'x'": [2],
    "user_date = 'May'": [2],
    '"it\'s"': [3],
    "name glob '*.jpg' and not (width = 300)": [1],
    "date(date, '+1 day') = '2020-01-01'": [1],
    "case when year = 2024 then 1 else 0 end": [3],
    "kind in ('text', 'images')": [],
    "upper(substr(name, 1, 1)) in ('A', 'D')": [1, 4],
}
REFUSED = {
    "yeer = 2020": "no field 'yeer' (did you mean 'year'?); the fields are: path, name, folder, date, year",
    'name = "a.jpg"': "text is written in single quotes: 'a.jpg'",
    "name = [a.jpg]": "text is written in single quotes: 'a.jpg'",
    "name = `a.jpg`": "text is written in single quotes: 'a.jpg'",
    "name = 'a.jpg": "the quotation that begins with ' has no end",
    "lenght(name) = 3": "no function 'lenght' (did you mean 'length'?); the functions are: abs,",
    "year >": "syntax error",
    "(year": "a parenthesis has no partner",
    "1) or (1": "a parenthesis has no partner",
    "count(year) > 1": "no function 'count'",
    "max(year) > 1": "misuse of aggregate",
    "": "the filter is empty",
    "year = ?": "parameters (?) are not allowed",
    "year = :year": "parameters (:) are not allowed",
    "1 -- comment": "comments (--) are not allowed",
    "1 /* comment": "comments (/*) are not allowed",
    "1; DROP TABLE items": "';' is not allowed",
    "item_id = 1": "no field 'item_id'",
    "main.items.id = 1": "no field 'main'",
    "year in (select 1)": "select is not allowed; a filter is one expression, without subqueries",
    "exists (select 1)": "without subqueries",
    "year in items": "no field 'items'",
    "1 union select name from sqlite_master": "without subqueries",
    "year = (with recursive n(i) as (values(1) union all select i+1 from n) select max(i) from n)": "subqueries",
    "attach database 'x' as y": "no field 'attach'",
    "pragma user_version": "no field 'pragma'",
    "load_extension('x')": "no function 'load_extension'",
    "length(randomblob(1000000000)) > 1": "no function 'randomblob'",
    "zeroblob(1000000000)": "no function 'zeroblob'",
    "readfile('/etc/passwd')": "no function 'readfile'",
    "fts3_tokenizer('x')": "no function 'fts3_tokenizer'",
    "printf('%1000000000d', 1)": "no function 'printf'",
    "name regexp '(a+)+b'": "no field 'regexp'",
    "name match 'x'": "no field 'match'",
    "replace(name, 'a', 'b') = 1": "no function 'replace'",
    "json_extract(captions, '$') = 1": "no function 'json_extract'",
    "x'00' = 1": "no field 'x'",
    "raise(abort, 'x')": "no function 'raise'",
    "1\0": "'\\x00' is not allowed",
    "1 " + "+ 1" * 2000: "characters; at most 4,000 are allowed",
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    folder = tmp_path_factory.mktemp("filters") / "index"
    write_index(folder, ITEMS, dimensions=2)
    with closing(reading(folder)) as connection:
        yield connection


@pytest.mark.parametrize("where", FOUND)
def test_an_expression_finds_the_items_for_which_it_is_true(connection: sqlite3.Connection, where: str) -> None:
    with snapshot(connection):
        assert matching_items(connection, where).tolist() == FOUND[where]


@pytest.mark.parametrize("where", REFUSED)
def test_anything_else_is_refused_with_what_is_wrong(connection: sqlite3.Connection, where: str) -> None:
    with snapshot(connection), pytest.raises(FilterError) as caught:
        matching_items(connection, where)
    assert REFUSED[where] in str(caught.value)


def test_sqlite_itself_denies_what_the_words_would_let_through(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itembed_tf.index.filters.check_expression", lambda *_: None)
    attacks = [
        "1) union select id from main.items where (1",
        "item_id in (select row from main.vectors)",
        "exists (select 1 from sqlite_master)",
        "exists (select 1 from pragma_database_list)",
        "load_extension('x')",
        "length(randomblob(1000000000))",
        "1); delete from items where (1",
        "json_extract('{}', '$') is null",
        "exists (with recursive n(i) as (values(1) union all select i + 1 from n) select max(i) from n)",
    ]
    for where in attacks:
        with snapshot(connection), pytest.raises(FilterError):
            matching_items(connection, where)
    with snapshot(connection):
        assert connection.execute("SELECT count(*) FROM vectors").fetchone()[0] == 4, "the connection is as before"


def test_an_expression_that_takes_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itembed_tf.index.filters.SECONDS", 0.2)
    long = ("a" * 20_000,)
    write_index(tmp_path / "i", [new_item(str(i), [1, 0], captions=long) for i in range(200)], dimensions=2)
    where = " or ".join(["captions like '%a_a_b%'"] * 90)  # takes about 10 s
    started = time.process_time()
    slow = pytest.raises(FilterError, match=r"took more than 0 s; make it simpler")
    with closing(reading(tmp_path / "i")) as connection, snapshot(connection), slow:
        matching_items(connection, where)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("pattern", ["%a" * 240 + "%b", "%_a" * 160 + "%b", "%" * 480 + "b"])
def test_patterns_do_not_multiply_their_time(tmp_path: Path, pattern: str) -> None:
    write_index(tmp_path / "i", [new_item("x", [1, 0], captions=("a" * 20_000,))], dimensions=2)
    started = time.process_time()
    with closing(reading(tmp_path / "i")) as connection, snapshot(connection):
        assert matching_items(connection, f"captions like '{pattern}'").tolist() == []
    assert time.process_time() - started < 1


def test_every_json_string_may_be_the_name_of_a_column(tmp_path: Path) -> None:
    names = ["a b", "größe", "select", "'; drop table items; --", "$.x", "a.b", "a[0]", 'quote"', "back\\slash", ""]
    write_index(tmp_path / "i", [new_item("x", [1, 0], fields=dict.fromkeys(names, 7))], dimensions=2)
    with closing(reading(tmp_path / "i")) as connection:
        for name in names[:7]:
            with snapshot(connection):
                assert matching_items(connection, f'"{name}" = 7').tolist() == [1], name


def test_the_view_does_not_outlive_the_transaction(connection: sqlite3.Connection) -> None:
    with snapshot(connection):
        create_view(connection, {})
    assert not connection.execute("SELECT * FROM sqlite_temp_master").fetchall()
