"""Leave-one-word-out importance: a bag of words computed by hand, and the encoder inputs."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.analysis.word_importance import Importance, mean_changes, word_importance

DOG, GRASS, A = 1, 2, 3
SPACE = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 0]], np.float64)  # "a" is the zero vector


def bag(ids: np.ndarray) -> np.ndarray:
    """The sum of the word vectors, scaled to unit length."""
    total = SPACE[ids].sum(axis=1)
    return (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)


def test_bag_of_words_by_hand() -> None:
    """ "dog grass a" is (3, 4, 0) / 5. With an image of a dog it scores 0.6; without "dog" 0, without "grass" 1."""
    images = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    of_dog, of_grass = word_importance([[DOG, GRASS, A]] * 2, images, bag, length=5)
    assert of_dog.score == pytest.approx(0.6) and of_grass.score == pytest.approx(0.8)
    assert of_dog.changes == pytest.approx([-0.6, 0.4, 0.0])
    assert of_grass.changes == pytest.approx([0.2, -0.8, 0.0])


def test_words_after_the_removed_one_shift_left() -> None:
    inputs: list[list[int]] = []

    def encode(ids: np.ndarray) -> np.ndarray:
        inputs.extend(ids.tolist())
        return np.ones((len(ids), 1), np.float32)

    importances = word_importance([[5, 6, 7, 8], [9], [4, 4]], np.ones((3, 1), np.float32), encode, length=3)
    assert inputs[:3] == [[5, 6, 7], [9, 0, 0], [4, 4, 0]]
    assert inputs[3:] == [[6, 7, 8], [5, 7, 8], [5, 6, 8], [4, 0, 0], [4, 0, 0]]
    # the fourth word is beyond the input; one word alone has no entry
    assert [len(words.changes) for words in importances] == [
        3,
        0,
        2,
    ]


def test_captions_of_one_word_and_no_captions() -> None:
    importances = word_importance([[DOG], [GRASS]], np.eye(3, dtype=np.float32)[:2], bag, length=4)
    assert [(words.score, len(words.changes)) for words in importances] == [(1, 0), (1, 0)]
    assert word_importance([], np.zeros((0, 3), np.float32), bag, length=4) == []


def test_each_caption_needs_its_image() -> None:
    with pytest.raises(ValueError, match="2 captions but 1 images"):
        word_importance([[DOG], [GRASS]], np.ones((1, 3), np.float32), bag, length=4)


def test_means_by_hand() -> None:
    captions = [[DOG, A], [DOG, GRASS, DOG], [GRASS, A, A]]
    changes = [[-0.4, 0.0], [-0.2, -0.1, -0.3], [0.1, 0.2]]  # two words of the last caption are within the input
    importances = [Importance(0.5, np.array(change)) for change in changes]
    means = mean_changes(captions, importances, minimum_count=2)
    assert [(mean.word, mean.count) for mean in means] == [(DOG, 3), (GRASS, 2), (A, 2)]
    assert [mean.change for mean in means] == pytest.approx([-0.3, 0.0, 0.1])
    assert [mean.word for mean in mean_changes(captions, importances, minimum_count=3)] == [DOG]
