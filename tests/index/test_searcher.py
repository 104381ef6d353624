"""`Searcher`: what a query finds, in which order, and with which scores on an index with given vectors."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.errors import UsageError
from itembed_tf.index.database import writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, start_generation
from itembed_tf.index.items import delete_items, put_vectors
from itembed_tf.index.records import Answer, Query
from itembed_tf.index.searcher import Searcher, open_searcher
from itembed_tf.index.text_encoder import EmbeddedTexts
from itembed_tf.retrieval.bands import LOWEST, Band
from itembed_tf.retrieval.calibration import Calibration, Far, calibration_bytes
from itembed_tf.retrieval.hubness import Bank, Correction
from itembed_tf.text import Vocabulary
from tests.support.small_index import CONTRACT, new_item, write_index

WORDS = {"dog": [1, 0, 0, 0], "snow": [0, 1, 0, 0], "car": [0, 0, 1, 0], "night": [0, 0, 0, 1]}
ITEMS = [
    new_item("dog.jpg", [1, 0, 0, 0], date="2020-05-01T00:00:00", captions=("a black dog",)),
    new_item("snowdog.jpg", [1, 1, 0, 0], date="2022-05-01T00:00:00"),
    new_item("a/snow.jpg", [0, 1, 0, 0], date="2021-05-01T00:00:00", captions=("snow on a car",)),
    new_item("a/car.jpg", [0, 0, 1, 0], captions=("a red car",)),
    new_item("a/copy.jpg", [1, 1, 0, 0], content=new_item("snowdog.jpg", [1, 0, 0, 0]).content),
]


class SumOfWords:
    """Stands in for the stored text encoder: the vector of a text is the sum of those of its words."""

    vocabulary = Vocabulary(tuple(sorted(WORDS)), tokenizer="words", lowercase=True, length=8)

    def embed(self, texts: list[str]) -> EmbeddedTexts:
        tokens = [self.vocabulary.tokenize(text) for text in texts]
        sums = np.array([np.sum([WORDS.get(word, [0] * 4) for word in own] or [[0] * 4], axis=0) for own in tokens])
        known = np.array([sum(word in WORDS for word in own) for own in tokens], np.int32)
        vectors = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)).astype(np.float32)
        return EmbeddedTexts(vectors, known, tuple(tuple((w, w in WORDS) for w in own) for own in tokens))


@pytest.fixture(autouse=True)
def by_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itembed_tf.index.encoding.load_text_encoder", lambda stored: SumOfWords())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_index(tmp_path / "photos.index", ITEMS)
    return tmp_path / "photos.index"


@pytest.fixture
def searcher(folder: Path) -> Iterator[Searcher]:
    with closing(open_searcher(folder)) as searcher:
        yield searcher


def ids(answer: Answer) -> list[int]:
    return [hit.item.id for hit in answer.hits]


def search(searcher: Searcher, text: str = "", **options: Any) -> Answer:
    return searcher.search(Query(text=text, **options))


def test_hits_are_ordered_by_cosine_and_copies_are_one_hit(searcher: Searcher) -> None:
    answer = search(searcher, "a dog", by="vector")
    assert ids(answer) == [1, 2, 3, 4]
    assert [hit.score for hit in answer.hits] == pytest.approx([1, 0.5**0.5, 0, 0], abs=1e-3)
    assert [hit.copies for hit in answer.hits] == [1, 2, 1, 1]
    assert {hit.found_by for hit in answer.hits} == {("vector",)}
    assert (answer.matching, answer.generation) == (5, 1)
    assert [item.name for item in searcher.copies(2)] == ["snowdog.jpg", "copy.jpg"]


def test_pages_follow_each_other_without_gap(searcher: Searcher) -> None:
    for by in ("vector", "both", "text"):
        whole = ids(search(searcher, "snow car", by=by))
        pages = [ids(search(searcher, "snow car", by=by, limit=1, offset=i)) for i in range(6)]
        assert [id for page in pages for id in page] == whole, by


def test_vectors_and_captions_are_fused_by_reciprocal_ranks(searcher: Searcher) -> None:
    answer = search(searcher, "red car")
    # by vector: 4, then 1, 2, 3, 5 with equal scores; by text: 4 alone has half of the words
    assert ids(answer)[0] == 4 and answer.hits[0].found_by == ("vector", "caption", "name")
    assert answer.unknown_words == ("red",)
    only_text = search(searcher, "red car", by="text")
    assert ids(only_text) == [4, 3] and {hit.score for hit in only_text.hits} == {None}
    # 3 is third by vector, and the only one whose caption has "snow on": 1/63 + 1/61 > 1/61
    assert ids(search(searcher, "dog snow on a car", by="both"))[0] == 3


def test_a_query_without_a_known_word_says_so_and_searches_captions(searcher: Searcher) -> None:
    answer = search(searcher, "Black, shiny!")
    assert answer.unknown_words == ("Black", "shiny")
    assert ids(answer) == [1] and answer.hits[0].found_by == ("caption",) and answer.hits[0].score is None
    assert answer.notes == ("training saw no word of 'Black, shiny!': only captions, names and folders were searched",)
    answer = search(searcher, "shiny", by="vector")
    assert answer.hits == () and "nothing was searched" in answer.notes[0]


def test_like_leaves_out_the_item_and_its_copies(searcher: Searcher) -> None:
    assert ids(search(searcher, like=2)) == ids(search(searcher, like=5)) == [1, 3, 4]
    with pytest.raises(SearchIndexError, match="the index has no item 99"):
        search(searcher, like=99)


def test_minus_turns_away_from_a_term(searcher: Searcher) -> None:
    # dog - snow / 2 = [1, -1/2] / 1.118: dog 0.894, snowdog 0.316, snow -0.447
    answer = search(searcher, "dog", minus="snow")
    assert ids(answer) == [1, 2, 4, 3]
    assert [hit.score for hit in answer.hits] == pytest.approx([0.894, 0.316, 0, -0.447], abs=1e-3)
    assert ids(search(searcher, like=1, minus="snow")) == [2, 4, 3]
    answer = search(searcher, "dog", minus="xyzzy")
    assert answer.unknown_words == ("xyzzy",)
    assert answer.notes == ("training saw no word of 'xyzzy': nothing was subtracted",)


def test_filters_and_dates(searcher: Searcher) -> None:
    answer = search(searcher, "dog", where="year >= 2021", by="vector")
    assert ids(answer) == [2, 3] and answer.matching == 2
    assert ids(search(searcher, "dog", sort="date")) == [2, 3, 1, 4], "newest first, then those without a date"
    assert ids(search(searcher, "dog", sort="date", limit=2, offset=1)) == [3, 1]
    assert ids(search(searcher)) == [2, 3, 1, 4], "no query: all, newest first"
    assert ids(search(searcher, where="folder like '%/a'", limit=2)) == [3, 4]
    assert ids(search(searcher, "dog", where="year = 1999")) == []


def test_facets_count_what_the_filter_admits(searcher: Searcher) -> None:
    facets = searcher.facets()
    assert facets.items == 5
    assert facets.folders == (("/photos/a", 3), ("/photos", 2))
    assert facets.years == (("2022", 1), ("2021", 1), ("2020", 1)) and facets.kinds == (("image", 5),)
    assert searcher.facets("year > 2020").folders == (("/photos", 1), ("/photos/a", 1))
    assert searcher.fields().keys() >= {"path", "year", "captions"}


def test_the_correction_orders_hits_and_leaves_scores_alone(folder: Path, searcher: Searcher) -> None:
    before = search(searcher, "dog", by="vector")
    with writing(folder) as connection:
        vectors = np.array([[1, 0, 0, 0], *[[0.5**0.5, 0.5**0.5, 0, 0]] * 2], np.float32)
        put_vectors(connection, 1, [1, 2, 5], vectors, biases=np.array([[0.9, 0], [0, 0.9], [0, 0.9]], np.float32))
    corrected = search(searcher, "dog", by="vector")
    assert ids(corrected) == [2, 1, 3, 4], "1.0 - 0.9 < 0.7; the bias of 2 is for image queries"
    assert {hit.item.id: hit.score for hit in corrected.hits} == {hit.item.id: hit.score for hit in before.hits}
    assert search(searcher, "dog", by="vector", corrected=False) == before
    assert ids(search(searcher, like=3)) == [1, 4, 2], "an image query: 0.707 - 0.9 < 0"


def calibration() -> Calibration:
    bands = (Band("strong", 0.5, 8, 10), Band("likely", 0.2, 3, 10), Band("weak", LOWEST, 0, 10))
    bank = Bank(np.eye(4, dtype=np.float16)[:2], np.arange(2, dtype=np.int32))
    return Calibration(
        contract=CONTRACT,
        captions=bank,
        images=bank,
        corrections={"text_to_image": Correction(0.5, 1)},
        bands={"text_to_image": bands},
        far={"text": Far(0.5, 0.05)},
    )


def test_bands_and_far_queries_come_from_the_calibration(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection, connection:
        connection.execute("UPDATE encoders SET calibration = ?", (calibration_bytes(calibration()),))
        connection.execute("UPDATE vectors SET text_bias = 0.6 WHERE item IN (2, 5)")
    with closing(open_searcher(folder)) as searcher:
        answer = search(searcher, "dog", by="vector")
        # 2: its cosine is 0.707, but 0.707 - 0.6 = 0.107 counts
        assert {hit.item.id: hit.band for hit in answer.hits} == {1: "strong", 2: "weak", 3: "weak", 4: "weak"}
        assert answer.notes == ()
        assert "far from all captions of the training" in search(searcher, "car").notes[0]
        assert {hit.band for hit in search(searcher, like=1).hits} == {""}, "no bands were measured for images"
        assert {hit.band for hit in search(searcher, "dog", minus="snow").hits} == {""}


def test_what_another_process_writes_is_seen_at_the_next_query(folder: Path, searcher: Searcher) -> None:
    assert ids(search(searcher, "dog"))[0] == 1
    code = f"""
from itembed_tf.index.database import writing
from itembed_tf.index.items import delete_items
from tests.support.small_index import new_item, write_index
with writing({str(folder)!r}) as connection:
    delete_items(connection, [1])
print(write_index({str(folder)!r}, [new_item("new.jpg", [1, 0.1, 0, 0], captions=("a new dog",))]))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "[6]\n", done.stderr
    answer = search(searcher, "dog")
    assert ids(answer)[0] == 6 and 1 not in ids(answer) and answer.matching == 5
    assert searcher.facets().items == 5 and ids(search(searcher, "new dog", by="text")) == [6]


def test_a_new_generation_is_searched_with_its_own_encoders(folder: Path, searcher: Searcher) -> None:
    assert search(searcher, "dog").generation == 1
    with writing(folder) as connection:
        number = start_generation(connection, StoredEncoders("d1" * 32, 2, b"", "{}")).number
        vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6], [0, 1]], np.float32)
        put_vectors(connection, number, [1, 2, 3, 4, 5], vectors, biases=np.zeros((5, 2), np.float32))
        with connection:
            connection.execute("BEGIN")
            connection.execute("UPDATE generations SET state = 'previous' WHERE number = 1")
            connection.execute("UPDATE generations SET state = 'current' WHERE number = ?", (number,))
            connection.execute("UPDATE settings SET value = value + 1 WHERE name = 'revision'")
    answer = search(searcher, like=1)
    assert answer.generation == 2 and ids(answer) == [4, 3, 2]


def test_threads_search_while_the_index_changes(folder: Path, searcher: Searcher) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                answer = search(searcher, "dog snow", where="folder = '/photos'")
                assert len(ids(answer)) == len(set(ids(answer))) >= 2 and {1, 2} == set(ids(answer)[:2])
                for hit in answer.hits:
                    assert hit.item.folder == "/photos"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(15):
        (id,) = write_index(folder, [new_item(f"more{i}.jpg", [1, 0, i, 0])])
        with writing(folder) as connection:
            delete_items(connection, [id])
    done.set()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "dog", "like": 1}, "only one of them"),
        ({"minus": "dog"}, "minus is subtracted from"),
        ({"like": 1, "by": "text"}, 'by "text" needs a text'),
        ({"limit": 0}, "limit is 0; it must be 1 to 1,000"),
        ({"offset": -1}, "offset is -1"),
        ({"by": "name"}, "by is both, vector or text"),
    ],
)
def test_queries_that_make_no_sense_are_refused(searcher: Searcher, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        searcher.search(dataclasses.replace(Query(), **options))


def test_items_thumbnails_and_an_empty_index(searcher: Searcher, tmp_path: Path) -> None:
    assert searcher.thumbnail(2) == searcher.thumbnail(5) == b"thumbnail of snowdog.jpg"
    assert searcher.thumbnail(99) is None and searcher.item(1).name == "dog.jpg"
    with pytest.raises(SearchIndexError, match="has no item 99"):
        searcher.item(99)
    with writing(tmp_path / "empty", create=True):
        pass
    with closing(open_searcher(tmp_path / "empty")) as empty:
        answer = search(empty, "dog")
        assert answer.hits == () and answer.notes == ("the index is empty",)
    with pytest.raises(SearchIndexError, match="is closed"):
        empty.facets()
