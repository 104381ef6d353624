"""Lessons of an index: found by the new name, listed, undone, and refused without a trace."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itembed_tf.index.database import reading, writing
from itembed_tf.index.encoders import pack_encoders, store_image_encoder
from itembed_tf.index.generations import StoredEncoders, current_generation, read_encoders, start_generation
from itembed_tf.index.items import read_vectors
from itembed_tf.index.lessons import read_lessons
from itembed_tf.index.records import Answer, Generation, Query
from itembed_tf.index.searcher import Searcher, open_searcher
from itembed_tf.index.taught_encoders import MOST_LOST
from itembed_tf.index.teaching import teach, unlearn
from itembed_tf.index.teaching_data import data_file
from itembed_tf.index.text_encoder import load_text_encoder
from itembed_tf.retrieval.calibration import parse_calibration
from itembed_tf.teach import main
from itembed_tf.teaching import TeachingData, TeachingError
from tests.support.small_index import new_item
from tests.support.small_teaching import SENTENCE, packed_encoders, write_taught_index


@pytest.fixture(scope="module")
def packed(teaching: TeachingData) -> StoredEncoders:
    return packed_encoders(teaching)


@pytest.fixture
def index(packed: StoredEncoders, teaching: TeachingData, tmp_path: Path) -> Path:
    return write_taught_index(tmp_path / "photos.index", teaching, packed)


@pytest.fixture(scope="module")
def taught_once(packed: StoredEncoders, teaching: TeachingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index whose first lesson is "zorbal", by item 3."""
    index = write_taught_index(tmp_path_factory.mktemp("taught") / "photos.index", teaching, packed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("itembed_tf.index.taught_encoders.MOST_LOST", 100.0)
        teach(index, "zorbal", items=[3])
    return index


@pytest.fixture
def taught(taught_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(taught_once, tmp_path / "taught.index")


@pytest.fixture(autouse=True)
def any_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dev of eight random images says nothing; one test has the real limit."""
    monkeypatch.setattr("itembed_tf.index.taught_encoders.MOST_LOST", 100.0)


def generation_of(index: Path) -> Generation:
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
    assert generation is not None
    return generation


def vector_of(index: Path, text: str) -> np.ndarray:
    with closing(reading(index)) as connection:
        return load_text_encoder(read_encoders(connection, generation_of(index).contract)).embed([text]).vectors[0]


def found(searcher: Searcher, text: str) -> Answer:
    return searcher.search(Query(text, by="vector", where="kind = 'image'", limit=3, corrected=False))


def test_what_was_taught_is_found_by_its_name_at_the_next_query(index: Path, packed: StoredEncoders) -> None:
    searcher = open_searcher(index)
    before = found(searcher, "zorbal")
    assert before.hits == () and before.unknown_words == ("zorbal",)
    with closing(reading(index)) as connection:
        rows = connection.execute("SELECT item, vector FROM vectors WHERE item <= 16 ORDER BY item").fetchall()
    lesson = teach(index, "  our   Zorbal ", items=[3])
    assert (lesson.number, lesson.name, lesson.words) == (1, "our Zorbal", ("our", "zorbal"))
    assert lesson.images == (new_item("2.png", [1]).content,)
    after = found(searcher, "our zorbal")
    assert after.hits[0].item.id == 3 and after.unknown_words == ()
    searcher.close()
    with closing(reading(index)) as connection:
        assert connection.execute("SELECT item, vector FROM vectors WHERE item <= 16 ORDER BY item").fetchall() == rows
        generation = generation_of(index)
        assert generation.contract != packed.contract == generation.base
        calibration = read_encoders(connection, generation.contract).calibration
        assert calibration is not None
        assert parse_calibration(calibration, generation.contract).corrections["text_to_image"].a == 0.5


def biases_of(index: Path) -> np.ndarray:
    """Stored text biases of the images, and those that the stored vectors and calibration give: [2, 16]."""
    with closing(reading(index)) as connection:
        contract = generation_of(index).contract
        calibration = parse_calibration(read_encoders(connection, contract).calibration or b"", contract)
        rows = connection.execute("SELECT text_bias FROM vectors WHERE item <= 16 ORDER BY item").fetchall()
        expected, _ = calibration.item_biases(read_vectors(connection, range(1, 17), 1), "image")
    return np.array([[row[0] for row in rows], expected])


def test_biases_and_bank_are_those_of_the_taught_encoder_and_come_back(index: Path, teaching: TeachingData) -> None:
    """A name of known words changes what training captions embed as, and with them how much of a hub an image is."""
    before, same = biases_of(index)
    np.testing.assert_allclose(before, same, atol=1e-5)
    teach(index, "red man", items=[3])
    stored, expected = biases_of(index)
    np.testing.assert_allclose(stored, expected, atol=1e-3)
    assert np.abs(stored - before).max() > 5e-3
    with closing(reading(index)) as connection:
        contract = generation_of(index).contract
        stored_encoders = read_encoders(connection, contract)
        bank = parse_calibration(stored_encoders.calibration or b"", contract).captions
    words = {i: word for word, i in teaching.vocabulary.ids.items()}
    texts = [" ".join(words[i] for i in row if i) for row in teaching.captions.tolist()]
    np.testing.assert_allclose(bank.vectors, load_text_encoder(stored_encoders).embed(texts).vectors, atol=2e-3)
    unlearn(index)
    np.testing.assert_allclose(biases_of(index)[0], before, atol=1e-6)


def test_hits_of_a_taught_name_have_no_band_and_say_why(taught: Path) -> None:
    with closing(open_searcher(taught)) as searcher:
        of_name, other = (searcher.search(Query(text, by="vector", limit=3)) for text in ("a Zorbal", "red dog"))
    assert [hit.band for hit in of_name.hits] == [""] * 3
    assert of_name.notes == ("'zorbal' was taught: its hits have no band, which were measured without taught names",)
    assert {hit.band for hit in other.hits if hit.item.kind == "image"} <= {"strong", "weak"} and other.notes == ()


def test_a_sentence_of_the_index_with_a_new_word_is_encoded_again(index: Path, taught: Path) -> None:
    def stored(index: Path) -> np.ndarray:
        with closing(reading(index)) as connection:
            return read_vectors(connection, [17], 1)[0]

    before = stored(index)
    np.testing.assert_allclose(stored(taught), vector_of(taught, SENTENCE), atol=1e-3)
    assert np.abs(stored(taught) - before).max() > 0.01
    unlearn(taught)
    np.testing.assert_allclose(stored(taught), before, atol=2e-3)


def test_an_undone_lesson_leaves_the_encoders_that_the_others_give(taught: Path, packed: StoredEncoders) -> None:
    index = taught
    one = generation_of(index).contract
    teach(index, "quib", items=[5])
    third = teach(index, "flarn", items=[7])
    assert unlearn(index, 2).name == "quib"
    with closing(reading(index)) as connection:
        numbers = [each.number for each in read_lessons(connection, generation_of(index))]
    assert numbers == [1, third.number] == [1, 3]
    assert not vector_of(index, "quib").any(), "no known word"
    assert unlearn(index).name == "flarn"
    assert generation_of(index).contract == one
    unlearn(index)
    assert generation_of(index) == Generation(1, packed.contract, 16, "current")
    with closing(reading(index)) as connection:
        assert read_encoders(connection, packed.contract) == packed, "byte for byte"
    with pytest.raises(TeachingError, match="no lesson to undo"):
        unlearn(index)


def test_a_lesson_that_costs_recall_is_refused_and_changes_nothing(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itembed_tf.index.taught_encoders.MOST_LOST", MOST_LOST)
    before = (index / "index.sqlite").read_bytes()
    monkeypatch.setattr(
        "itembed_tf.index.taught_encoders.dev_recall", lambda data, features, taught=None: 20.0 if taught else 20.31
    )
    with pytest.raises(TeachingError, match=r"was not learned: R@1 on dev.* would be 20.00 %.* was 20.31 % before"):
        teach(index, "zorbal", items=[3])
    monkeypatch.setattr(
        "itembed_tf.index.taught_encoders.dev_recall", lambda data, features, taught=None: 20.0 if taught else 20.29
    )
    assert (index / "index.sqlite").read_bytes() == before
    assert teach(index, "zorbal", items=[3]).recall_after == 20.0


def test_a_lesson_is_listed_and_undone_by_the_command(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(index), "zorbal", "--item", "5", "7"]) == 0
    out = capsys.readouterr().out
    assert "lesson 1: 'zorbal', 2 images; new words: zorbal" in out and "search" in out
    (lesson,) = json.loads(_listed(index, "--json"))
    assert lesson["name"] == "zorbal" and len(lesson["images"]) == 2
    assert "zorbal  (2 images; R@1 on dev" in _listed(index)
    assert main([str(index), "--undo", "1"]) == 0
    assert _listed(index) == "no lessons\n"


def _listed(index: Path, *options: str) -> str:
    """`--list` in a process of its own, which must not load TensorFlow."""
    code = f"""
import sys
from itembed_tf.teach import main
main({[str(index), "--list", *options]!r})
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_cannot_be_taught_is_told(index: Path, packed: StoredEncoders, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["zorbal", "--item", "99"], "no item 99"),
        (["zorbal", "--item", "17"], "item 17 is a sentence"),
        (["zorbal", "--image", str(index)], "no file at"),
        (["--undo", "7"], "no lesson to undo"),
    ):
        assert main([str(index), *words]) == 1
        assert message in capsys.readouterr().err
    assert main(["nowhere", "zorbal", "--item", "1"]) == 1
    assert "nowhere is not an index" in capsys.readouterr().err
    data_file(index, packed.contract).unlink()
    assert main([str(index), "zorbal", "--item", "3"]) == 1
    line = capsys.readouterr().err
    assert "has no data to learn names with" in line and "index RUN --out" in line and "--run RUN" in line


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_an_index_without_data_of_lessons_takes_a_run_and_an_image_file(
    small_run: Path, small_export: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos.index"
    packed = pack_encoders(small_export)
    with writing(folder, create=True) as connection:
        start_generation(connection, packed)
    store_image_encoder(small_export, folder)
    image = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(image, "PNG")
    with pytest.raises(TeachingError, match="image 2 of the lesson is an HTML page"):
        teach(folder, "zorbal", images=[image.getvalue(), b"<html></html>"], run=small_run)
    lesson = teach(folder, "zorbal", images=[image.getvalue()], run=small_run)
    assert lesson.words == ("zorbal",) and lesson.images == (hashlib.sha256(image.getvalue()).hexdigest(),)
    assert data_file(folder, packed.contract).is_file(), "kept for later lessons"
    assert teach(folder, "quib", images=[image.getvalue()]).number == 2
    unlearn(folder)
    unlearn(folder)
    assert generation_of(folder).contract == packed.contract
    with closing(reading(folder)) as connection:
        assert connection.execute("SELECT count(*) FROM lesson_images").fetchone() == (0,)
