"""Leaving one word out, on a bag of words whose answers are known by hand, and with deletions written out."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.analysis.leave_one_out import Words, leave_one_out, mean_changes

DOG, GRASS, A = 1, 2, 3
SPACE = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 0]], np.float64)  # "a" carries nothing


def bag(ids: np.ndarray) -> np.ndarray:
    """The sum of the words' vectors, at unit length."""
    total = SPACE[ids].sum(axis=1)
    return (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)


def test_a_bag_of_words_by_hand() -> None:
    """ "dog grass a" is (3, 4, 0) / 5. For a picture of a dog it scores 0.6; without "dog" 0, without "grass" 1."""
    pictures = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    of_dog, of_grass = leave_one_out([[DOG, GRASS, A]] * 2, pictures, bag, length=5)
    assert of_dog.score == pytest.approx(0.6) and of_grass.score == pytest.approx(0.8)
    assert of_dog.changes == pytest.approx([-0.6, 0.4, 0.0])
    assert of_grass.changes == pytest.approx([0.2, -0.8, 0.0])


def test_the_gap_is_closed_and_what_follows_moves_in() -> None:
    seen: list[list[int]] = []

    def encode(ids: np.ndarray) -> np.ndarray:
        seen.extend(ids.tolist())
        return np.ones((len(ids), 1), np.float32)

    found = leave_one_out([[5, 6, 7, 8], [9], [4, 4]], np.ones((3, 1), np.float32), encode, length=3)
    assert seen[:3] == [[5, 6, 7], [9, 0, 0], [4, 4, 0]]
    assert seen[3:] == [[6, 7, 8], [5, 7, 8], [5, 6, 8], [4, 0, 0], [4, 0, 0]]
    assert [len(words.changes) for words in found] == [3, 0, 2]  # the fourth word is not read; one word is all there is


def test_one_word_sentences_only_and_none() -> None:
    found = leave_one_out([[DOG], [GRASS]], np.eye(3, dtype=np.float32)[:2], bag, length=4)
    assert [(words.score, len(words.changes)) for words in found] == [(1, 0), (1, 0)]
    assert leave_one_out([], np.zeros((0, 3), np.float32), bag, length=4) == []


def test_each_sentence_needs_its_picture() -> None:
    with pytest.raises(ValueError, match="2 sentences for 1 pictures"):
        leave_one_out([[DOG], [GRASS]], np.ones((1, 3), np.float32), bag, length=4)


def test_means_by_hand() -> None:
    sentences = [[DOG, A], [DOG, GRASS, DOG], [GRASS, A, A]]
    changes = [[-0.4, 0.0], [-0.2, -0.1, -0.3], [0.1, 0.2]]  # of the last sentence two words are read
    words = [Words(0.5, np.array(change)) for change in changes]
    means = mean_changes(sentences, words, at_least=2)
    assert [(mean.word, mean.times) for mean in means] == [(DOG, 3), (GRASS, 2), (A, 2)]
    assert [mean.change for mean in means] == pytest.approx([-0.3, 0.0, 0.1])
    assert [mean.word for mean in mean_changes(sentences, words, at_least=3)] == [DOG]
