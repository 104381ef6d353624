"""Full-text search: which items are found, by what, and that no query is read as syntax."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from itembed_tf.index.database import reading
from itembed_tf.index.full_text import search_texts
from tests.support.small_index import new_item, write_index

CAPTIONS = {
    "park/IMG_1.jpg": ("A black dog with a red collar.", "A dog runs"),
    "park/IMG_2.jpg": ("A white dog in the snow",),
    "town/red_car.jpg": (),
    "town/IMG_4.jpg": ("Ein Café bei Nacht", "Große Tür"),
    "town/IMG_5.jpg": ("a hotdog", "doggedly"),
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    folder = tmp_path_factory.mktemp("texts") / "index"
    write_index(folder, [new_item(name, [1, 0], captions=own) for name, own in CAPTIONS.items()], dimensions=2)
    with closing(reading(folder)) as connection:
        yield connection


def found(connection: sqlite3.Connection, text: str, **options: object) -> dict[int, tuple[str, ...]]:
    return {hit.id: hit.found_by for hit in search_texts(connection, text, 10, **options)}  # type: ignore[arg-type]


def test_words_are_found_in_captions_names_and_folders(connection: sqlite3.Connection) -> None:
    assert found(connection, "collar") == {1: ("caption",)}
    assert found(connection, "red") == {1: ("caption",), 3: ("name",)}
    assert found(connection, "town car") == {3: ("name", "folder"), 4: ("folder",), 5: ("folder",)}


def test_case_and_accents_do_not_matter(connection: sqlite3.Connection) -> None:
    assert (
        found(connection, "CAFE") == found(connection, "café") == found(connection, "cafe\u0301") == {4: ("caption",)}
    )
    assert found(connection, "große") == {4: ("caption",)}


def test_the_last_word_may_be_a_beginning(connection: sqlite3.Connection) -> None:
    assert set(found(connection, "dog")) == {1, 2, 5}
    assert set(found(connection, "dog snow")) == {1, 2}, "only the last one"
    assert set(found(connection, "colla")) == {1} and found(connection, "colla dog").keys() == {1, 2, 5}
    assert found(connection, "c") == {}, "one letter would match much of the index"


def test_more_and_rarer_words_come_first(connection: sqlite3.Connection) -> None:
    hits = search_texts(connection, "black dog with red collar", 10)
    assert [hit.id for hit in hits] == [1, 3, 2]
    assert hits[0].share == 1 and hits[1].share < 0.3 and hits[2].share < 0.3


def test_the_share_weighs_words_by_their_rarity(connection: sqlite3.Connection) -> None:
    # N = 5: snow n = 1: log(1 + 4.5 / 1.5) = 1.386; dog n = 2: log(1 + 3.5 / 2.5) = 0.875
    shares = {hit.id: hit.share for hit in search_texts(connection, "dog snow", 10)}
    assert shares[2] == 1
    assert shares[1] == pytest.approx(0.875 / (0.875 + 1.386), abs=1e-3)


def test_an_unknown_word_weighs_as_the_rarest_known_one(connection: sqlite3.Connection) -> None:
    # dog, also as a beginning: n = 3: log(1 + 2.5 / 3.5) = 0.539; snow 1.386, and the unknown word the same
    shares = {hit.id: hit.share for hit in search_texts(connection, "zzqx snow dog", 10)}
    assert shares[2] == pytest.approx((0.539 + 1.386) / (0.539 + 2 * 1.386), abs=1e-3)
    (hit,) = search_texts(connection, "zzqx zzqy snow", 10)
    assert hit.share == pytest.approx(1 / 3)


def test_a_word_of_most_items_says_nothing(connection: sqlite3.Connection) -> None:
    # town is in 3 of 5 items, and in more than the limit of 2.
    assert {hit.share for hit in search_texts(connection, "town", 2)} == {0.0}
    assert {hit.share for hit in search_texts(connection, "town", 3)} == {1.0}


def test_words_of_most_items_are_not_ranked_where_vectors_are(connection: sqlite3.Connection) -> None:
    hits = search_texts(connection, "a", 1)
    assert len(hits) == 1 and hits[0].share == 0, "all that the full text has"
    assert search_texts(connection, "a", 1, common=False) == []
    assert search_texts(connection, "a collar", 1, common=False) == search_texts(connection, "a collar", 1)


def test_items_with_all_words_of_minus_are_left_out(connection: sqlite3.Connection) -> None:
    assert set(found(connection, "dog", minus="snow")) == {1, 5}
    assert set(found(connection, "dog", minus="snow black")) == {1, 2, 5}
    assert set(found(connection, "dog", minus="white snow")) == {1, 5}


def test_only_allowed_items_are_found(connection: sqlite3.Connection) -> None:
    assert set(found(connection, "dog", allowed=np.array([2, 5]))) == {2, 5}
    assert found(connection, "dog", allowed=np.array([], np.int64)) == {}


@pytest.mark.parametrize(
    "text",
    ['"', "'", '" OR "', "dog*", "NEAR(a b)", "AND OR NOT", "caption:dog", "{name}:red", "^a", "-dog", "a AND (", "+",
     "\0", "\x02\x03", "🐕", "* dog", "(" * 100, "dog " * 1000, "\ud800", "%", "--", ";"],
)  # fmt: skip
def test_no_text_is_read_as_syntax(connection: sqlite3.Connection, text: str) -> None:
    for options in ({}, {"minus": text}):
        search_texts(connection, text, 10, **options)  # type: ignore[arg-type]
    assert set(found(connection, f"{text} collar")) >= {1}
