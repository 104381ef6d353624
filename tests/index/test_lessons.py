"""What an index keeps of names that its encoders were taught."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index.database import reading, transaction, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, check_contract, current_generation, read_encoders
from itembed_tf.index.lessons import applied, read_lessons, taught_name, write_lessons
from itembed_tf.teaching import Lesson
from itembed_tf.text import Vocabulary
from tests.support.small_index import CONTRACT, new_item, write_index

TAUGHT = "e" * 64


def lesson(name: str, number: int = 0) -> Lesson:
    vectors = np.array([[1, 0, 0, 0], [0, 0.6, 0.8, 0]], np.float32)
    rows = np.array([[0.1, -2, 3]], np.float32)
    return Lesson(number, name, ("a" * 64, "b" * 64), vectors, "2026-01-02T03:04:05Z", 12.5, 12.25, ("qub",), rows)


def encoders(contract: str) -> StoredEncoders:
    return StoredEncoders(contract, 4, b"model", "{}")


def an_index(folder: Path) -> Path:
    write_index(folder, [new_item("dog.jpg", [1, 0, 0, 0])])
    return folder


def change(index: Path, contract: str, lessons: list[Lesson]) -> None:
    with writing(index) as connection, transaction(connection):
        generation = current_generation(connection)
        assert generation is not None
        write_lessons(connection, generation, encoders(contract), lessons)


def test_a_lesson_comes_back_and_the_vectors_stay(tmp_path: Path) -> None:
    index = an_index(tmp_path / "i")
    change(index, TAUGHT, [lesson("a qub")])
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
        assert generation is not None
        assert (generation.contract, generation.base, generation.image_contract) == (TAUGHT, CONTRACT, CONTRACT)
        (found,) = read_lessons(connection, generation)
        assert found.number == 1
        for name in ("name", "images", "created", "recall_before", "recall_after", "words"):
            assert getattr(found, name) == getattr(lesson("a qub"), name)
        np.testing.assert_array_equal(found.vectors, lesson("a qub").vectors)
        np.testing.assert_array_equal(found.word_rows, lesson("a qub").word_rows)
        assert connection.execute("SELECT count(*) FROM vectors WHERE generation = 1").fetchone() == (1,)
        assert read_encoders(connection, TAUGHT).text_encoder == b"model"


def test_images_of_the_untaught_encoders_can_still_be_added(tmp_path: Path) -> None:
    index = an_index(tmp_path / "i")
    change(index, TAUGHT, [lesson("a qub")])
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
    assert generation is not None
    check_contract(generation, CONTRACT)
    check_contract(generation, TAUGHT)
    with pytest.raises(SearchIndexError, match="cannot be compared"):
        check_contract(generation, "f" * 64)


def test_a_removed_lesson_is_gone_and_no_number_is_used_twice(tmp_path: Path) -> None:
    index = an_index(tmp_path / "i")
    change(index, "1" * 64, [lesson("one")])
    change(index, "2" * 64, [lesson("one", 1), lesson("two")])
    change(index, "3" * 64, [lesson("two", 2)])
    change(index, "4" * 64, [lesson("two", 2), lesson("three")])
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
        assert generation is not None
        assert [(each.number, each.name) for each in read_lessons(connection, generation)] == [(2, "two"), (3, "three")]
        contracts = {row[0] for row in connection.execute("SELECT contract FROM encoders")}
        assert contracts == {CONTRACT, "4" * 64}, "encoders that no generation has are removed, but for the base"
    change(index, CONTRACT, [])
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
        assert generation is not None and (generation.contract, generation.base) == (CONTRACT, "")
        assert read_lessons(connection, generation) == []


def test_a_text_with_a_taught_name_or_a_new_word_of_it_is_told(tmp_path: Path) -> None:
    index = an_index(tmp_path / "i")
    change(index, TAUGHT, [lesson("a qub"), replace(lesson("red dog"), words=(), word_rows=None)])
    vocabulary = Vocabulary(("a", "dog", "on", "qub", "red"), tokenizer="words", lowercase=True, length=5)
    expected = {
        "dog": "",
        "a dog on A Qub": "a qub",
        "qub!": "a qub",
        "the Red Dog": "red dog",
        "dog, red": "",
        "a": "",
    }
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
        assert generation is not None
        found = {text: taught_name(connection, generation, text, vocabulary) for text in expected}
    assert found == expected


def test_a_lesson_with_a_problem_is_kept_beside_the_encoders(tmp_path: Path) -> None:
    index = an_index(tmp_path / "i")
    failed = replace(lesson("lost"), problem="recall fell")
    change(index, TAUGHT, [failed, lesson("a qub")])
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
        assert generation is not None
        found = read_lessons(connection, generation)
        assert [(each.name, each.problem) for each in found] == [("lost", "recall fell"), ("a qub", "")]
        assert [each.name for each in applied(found)] == ["a qub"]


def test_copies_of_images_go_with_the_last_lesson_that_shows_them(tmp_path: Path) -> None:
    index = an_index(tmp_path / "i")

    def copies() -> list[str]:
        with closing(reading(index)) as connection:
            return [row[0] for row in connection.execute("SELECT content FROM lesson_images ORDER BY 1")]

    with writing(index) as connection, transaction(connection):
        generation = current_generation(connection)
        assert generation is not None
        files = {"a" * 64: b"a small copy", "c" * 64: b"of no lesson"}
        write_lessons(connection, generation, encoders(TAUGHT), [lesson("a qub")], files)
    assert copies() == ["a" * 64]
    change(index, CONTRACT, [])
    assert copies() == []
