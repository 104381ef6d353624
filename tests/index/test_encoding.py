"""Queries by the encoders that an index carries: the vectors of the export; TensorFlow for an image alone."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import itembed_tf
from itembed_tf.index.database import writing
from itembed_tf.index.encoders import pack_encoders, store_image_encoder
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import start_generation
from itembed_tf.index.items import add_source, put_items
from itembed_tf.index.query_vectors import subtract, unknown_words
from itembed_tf.index.records import Query
from itembed_tf.index.searcher import Searcher, open_searcher
from itembed_tf.text import Vocabulary
from tests.support.small_index import new_item


@pytest.fixture(scope="module")
def images(small_dataset: Path) -> list[Path]:
    return sorted(file for file in small_dataset.rglob("*") if file.suffix in (".jpg", ".png"))


@pytest.fixture(scope="module")
def vectors(small_export: Path, images: list[Path]) -> np.ndarray:
    return itembed_tf.load(small_export).embed_images(images)


@pytest.fixture(scope="module")
def index(small_export: Path, vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoding") / "photos.index"
    with writing(folder, create=True) as connection:
        generation = start_generation(connection, pack_encoders(small_export))
        store_image_encoder(small_export, folder)
        source = add_source(connection, "folder", "/photos")
        items = [new_item(f"{i}.jpg", vector) for i, vector in enumerate(vectors)]
        dimensions = vectors.shape[1]
        put_items(connection, items, source=source, generation=generation.number, dimensions=dimensions)
    return folder


def scores(searcher: Searcher, query: Query) -> np.ndarray:
    found = {hit.item.id: hit.score for hit in searcher.search(query).hits}
    return np.array([found[id] for id in sorted(found)])


def test_texts_and_images_get_the_scores_of_the_exported_encoders(
    index: Path, small_export: Path, images: list[Path], vectors: np.ndarray
) -> None:
    model = itembed_tf.load(small_export)
    with closing(open_searcher(index)) as searcher:
        by_text = scores(searcher, Query("a red dog", by="vector"))
        np.testing.assert_allclose(by_text, vectors @ model.embed_texts(["a red dog"])[0], atol=1e-3)
        by_image = scores(searcher, Query(image=images[3].read_bytes()))
        np.testing.assert_allclose(by_image, vectors @ vectors[3], atol=1e-3)
        assert searcher.search(Query(image=images[3].read_bytes())).hits[0].score == pytest.approx(1, abs=1e-3)


def test_an_image_that_cannot_be_read_is_named_with_what_it_is(index: Path, images: list[Path]) -> None:
    with closing(open_searcher(index)) as searcher:
        for content in (b"<!doctype html><html></html>", images[0].read_bytes()[:-200], b""):
            with pytest.raises(SearchIndexError, match="the image of the query is "):
                searcher.search(Query(image=content))


def test_a_search_by_text_brings_in_no_tensorflow(index: Path) -> None:
    code = f"""
import sys
from itembed_tf.index import Query, open_searcher
answer = open_searcher({str(index)!r}).search(Query("a red zzqx", where="year is null"))
print(len(answer.hits), answer.unknown_words, [m for m in ("tensorflow", "keras", "PIL") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "16 ('zzqx',) []\n", done.stderr


def test_half_of_a_vector_is_subtracted() -> None:
    # [1, 0] - [0, 1] / 2 has length sqrt(1.25)
    difference = subtract(np.array([1, 0], np.float32), np.array([0, 1], np.float32))
    np.testing.assert_allclose(difference, np.array([1, -0.5]) / 1.25**0.5, rtol=1e-6)


def test_unknown_words_are_given_as_they_were_written() -> None:
    vocabulary = Vocabulary(("cafe", "dog", "t"), tokenizer="words", lowercase=True, length=8)
    written = "A Dog, at the “Zoë-Bar” (CAFÉ!), don't; dog-lead ZOO zoo..."
    assert unknown_words(written, vocabulary) == ("A", "at", "the", "Zoë-Bar", "don", "lead", "ZOO", "zoo")
    assert unknown_words("dog café", vocabulary) == unknown_words("... !", vocabulary) == ()
