"""A text encoder learns names, and keeps what it knew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.teaching import Lesson, TeachingData, TeachingError, parse_data, read_data, teaching_bytes, write_data
from itembed_tf.teaching.features import TextFeatures, text_features
from itembed_tf.teaching.learning import ENOUGH, learn, nearer, smallest_change, target, with_new_words
from tests.support.small_teaching import LENGTH, small_teaching


def lesson(name: str, *vectors: list[float] | np.ndarray) -> Lesson:
    rows = np.array(vectors, np.float32)
    return Lesson(0, name, ("a" * 64,) * len(rows), rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def features(teaching: TeachingData) -> TextFeatures:
    return text_features(teaching)


def test_the_smallest_change_gives_the_wanted_outputs_and_keeps_the_others() -> None:
    """Kept inputs lie in the first two of three dimensions: the third is free, and alone is used."""
    kept = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    change = smallest_change(np.array([[1, 0, 1]], np.float32), np.array([[2, -4]], np.float32), kept)
    np.testing.assert_allclose(np.array([1, 0, 1]) @ change, [2, -4], rtol=1e-5)
    np.testing.assert_allclose(kept @ change, 0, atol=0.1)


def test_an_output_moves_just_near_enough() -> None:
    moved = nearer(np.array([0, 2, 0], np.float32), np.array([1, 0, 0], np.float32))
    np.testing.assert_allclose(moved, [2 * ENOUGH, 2 * np.sqrt(1 - ENOUGH**2), 0], rtol=1e-6)
    near = np.array([2, 0.5, 0], np.float32)
    np.testing.assert_array_equal(nearer(near, np.array([1, 0, 0], np.float32)), near)


def test_the_target_is_the_mean_direction_of_the_images() -> None:
    goal = target(lesson("x", [2.0, 0, 0, 0], [0, 1.0, 0, 0]))
    np.testing.assert_allclose(goal, [np.sqrt(0.5), np.sqrt(0.5), 0, 0], rtol=1e-6)


def test_a_new_word_is_learned_and_no_other_text_changes(teaching: TeachingData, features: TextFeatures) -> None:
    new = lesson("Our Zorbal", teaching.dev_images[0].astype(np.float32))
    before = learn(teaching, features, [])
    taught = learn(teaching, features, [new])
    assert taught.lessons[0].words == ("our", "zorbal")
    ids = taught.encoder.vocabulary.encode(["our zorbal", "a dog", "the red bike"])
    embedded = taught.encoder.embed(ids)
    assert embedded[0] @ target(new) > ENOUGH - 1e-3
    if taught.head_change is None:
        np.testing.assert_array_equal(embedded[1:], before.encoder.embed(ids[1:]))


def test_no_lesson_is_the_encoder_of_the_run_and_lessons_have_hashes_of_their_own(
    teaching: TeachingData, features: TextFeatures
) -> None:
    assert learn(teaching, features, []).encoder.contract == teaching.contract
    one = lesson("zorbal", teaching.dev_images[0].astype(np.float32))
    two = lesson("quib", teaching.dev_images[1].astype(np.float32))
    hashes = [learn(teaching, features, lessons).encoder.contract for lessons in ([one], [two], [one, two])]
    assert len({teaching.contract, *hashes}) == 4


def test_undoing_gives_the_encoder_that_the_other_lessons_alone_give(
    teaching: TeachingData, features: TextFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itembed_tf.teaching.learning.ENOUGH", 0.99)
    images = teaching.dev_images.astype(np.float32)
    three = [lesson("zorbal", images[0]), lesson("red man", images[1]), lesson("quib dog", images[2])]
    all_of_them = learn(teaching, features, three)
    assert all_of_them.head_change is not None, "a name of known words changes the head"
    without = learn(teaching, features, [all_of_them.lessons[0], all_of_them.lessons[2]])
    alone = learn(teaching, features, [three[0], three[2]])
    assert without.encoder.contract == alone.encoder.contract


def test_a_word_of_two_lessons_is_learned_again_when_the_first_is_undone(
    teaching: TeachingData, features: TextFeatures
) -> None:
    images = teaching.dev_images.astype(np.float32)
    both = with_new_words(teaching, [lesson("zorbal", images[0]), lesson("zorbal dog", images[1])])
    assert [each.words for each in both] == [("zorbal",), ()]
    (left,) = with_new_words(teaching, both[1:])
    assert left.words == ("zorbal",) and left.word_rows is None


def test_names_that_cannot_be_learned_are_refused(teaching: TeachingData, features: TextFeatures) -> None:
    for name, message in (
        ("!?", "has no word"),
        ("a b c d e f g h i j", f"has 10 words; these encoders read {LENGTH}"),
    ):
        with pytest.raises(TeachingError, match=message):
            learn(teaching, features, [lesson(name, teaching.dev_images[0].astype(np.float32))])


def test_the_data_comes_back_from_its_file(teaching: TeachingData, tmp_path: Path) -> None:
    file = write_data(tmp_path, teaching)
    found = read_data(tmp_path, teaching.contract)
    assert found is not None
    assert found.vocabulary == teaching.vocabulary and found.caption_groups.tolist() == teaching.caption_groups.tolist()
    assert learn(found, text_features(found), []).encoder.contract == teaching.contract
    with pytest.raises(TeachingError, match="cannot be used"):
        read_data(tmp_path, "0" * 64)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TeachingError, match=r"cannot be used.*remove it, and give the run with `itembed teach --run`"):
        read_data(tmp_path, teaching.contract)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("captions", np.full((4, 5), 99, np.int32), "captions are no word ids"),
        ("dev_images", np.full((8, 16), np.nan, np.float16), "no finite float16 rows"),
        ("dev_image_groups", np.arange(1, 9, dtype=np.int32), "without a caption"),
        ("weights", (np.array([np.inf], np.float32),), "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(teaching: TeachingData, field: str, value: object, message: str) -> None:
    with pytest.raises(TeachingError, match=message):
        parse_data(teaching_bytes(replace(teaching, **{field: value})), teaching.contract)


def test_weights_of_another_encoder_are_not_taught(teaching: TeachingData) -> None:
    other = replace(teaching, weights=(*teaching.weights[:-1], teaching.weights[-1] + 1))
    with pytest.raises(TeachingError, match=r"does not give the encoders .* of a kind that cannot be taught"):
        text_features(other)
    with pytest.raises(TeachingError, match="cannot be built"):
        text_features(replace(teaching, weights=teaching.weights[:-1]))


def test_an_ensemble_learns_a_word_in_the_tables_of_all_members(tmp_path: Path) -> None:
    ensemble = small_teaching(members=2)
    write_data(tmp_path, ensemble)
    read = read_data(tmp_path, ensemble.contract)
    assert read is not None and len(read.towers) == 2
    kept = text_features(read)
    new = lesson("zorbal", ensemble.dev_images[0].astype(np.float32))
    taught = learn(read, kept, [new])
    rows = taught.lessons[0].word_rows
    assert rows is not None and rows.shape == (1, 8 + 8) and np.abs(rows).min() > 0
    embedded = taught.encoder.embed(taught.encoder.vocabulary.encode(["zorbal"]))
    assert embedded[0] @ target(new) > ENOUGH - 1e-3
    assert learn(read, kept, []).encoder.contract == ensemble.contract
