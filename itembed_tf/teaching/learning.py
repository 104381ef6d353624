"""How a text encoder learns names: rows of the word table for new words first, then the head, as little as needed.

The image encoder stays as it is. A name is learned when its embedding is near its target, the mean of the embeddings of
its images.

1. A word that the vocabulary lacks gets a row. Only this row is trained (Adam), on the name alone and on the name
   before the captions next to the images. No text without the word changes.
2. Where that does not suffice, as for a name of known words, the last linear layer changes: of all changes D with
   D h_j = d_j for the names j, the one that minimises  sum over captions c of |D h_c|^2 + r |D|^2.  Here h is the
   input of the layer, d_j is what moves the output of name j just near enough to its target, and the captions are those
   of the training that are kept for this, so that what other texts embed as hardly moves. It has a closed form: the
   result does not depend on the order of the lessons, nor on what was learned and undone before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from itembed_tf.teaching.data import TeachingData, TeachingError
from itembed_tf.teaching.encoder import TrainableTextEncoder
from itembed_tf.teaching.features import TextFeatures
from itembed_tf.teaching.records import Lesson

CONTEXTS = 7  # captions before which a new word is trained
STEPS, RATE = 40, 0.3  # of Adam, for the rows, the rate relative to the deviation of those of other words
ENOUGH = 0.95  # cosine of a name with its target
RIDGE = 1e-2  # r, relative to the mean square of an input


@dataclass(frozen=True, eq=False)
class Taught:
    """A text encoder with lessons.

    Attributes:
        encoder: with the lessons.
        lessons: with the words that each added to the vocabulary, and their rows.
        head_change: change of the last linear layer, float32 [F, D], with which texts without a new word change too;
            None where it stays.
    """

    encoder: TrainableTextEncoder
    lessons: tuple[Lesson, ...]
    head_change: NDArray[np.float32] | None


def learn(data: TeachingData, features: TextFeatures, lessons: Sequence[Lesson]) -> Taught:
    """The text encoder of `data` with lessons, in their order; the rows that lessons have already are kept.

    Args:
        data: of the encoders before any lesson.
        features: of its captions.
        lessons: all that the encoder is to have.

    Raises:
        TeachingError: a name without a word, or of more words than a text may have.
    """
    learned = with_new_words(data, lessons)
    encoder = TrainableTextEncoder(data, [word for lesson in learned for word in lesson.words])
    targets = [target(lesson) for lesson in learned]
    rows = encoder.typical_rows[:0]
    for i, lesson in enumerate(learned):
        own = lesson.word_rows
        if lesson.words and own is None:
            own = _train_rows(encoder, data, features, lesson, targets[i], rows)
            learned[i] = replace(lesson, word_rows=own)
        rows = rows if own is None else np.concatenate([rows, own])
    encoder.rows = rows
    return Taught(encoder, tuple(learned), _change_head(encoder, features, learned, targets))


def with_new_words(data: TeachingData, lessons: Sequence[Lesson]) -> list[Lesson]:
    """The lessons with the words that each adds; one whose words are others than before loses its rows.

    Raises:
        TeachingError: a name without a word, or of more words than a text may have.
    """
    known, result = set(data.vocabulary.ids), []
    for lesson in lessons:
        words = data.vocabulary.tokenize(lesson.name)
        if not words:
            raise TeachingError(f"the name {lesson.name!r} has no word: a word is made of letters and digits")
        if len(words) > data.vocabulary.length:
            raise TeachingError(
                f"the name {lesson.name!r} has {len(words)} words; these encoders read {data.vocabulary.length}"
            )
        new = tuple(dict.fromkeys(word for word in words if word not in known))
        known.update(new)
        result.append(lesson if new == lesson.words else replace(lesson, words=new, word_rows=None))
    return result


def target(lesson: Lesson) -> NDArray[np.float32]:
    """The embedding that a name should have, float32 [D], unit length."""
    return _unit(lesson.vectors.mean(axis=0))


def _train_rows(
    encoder: TrainableTextEncoder,
    data: TeachingData,
    features: TextFeatures,
    lesson: Lesson,
    goal: NDArray[np.float32],
    before: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Rows for the new words of a lesson, [n, width]; `before` are those of earlier lessons."""
    ids = _contexts(encoder, data, features, lesson)
    weights = np.full(len(ids), 0.5 / max(len(ids) - 1, 1), np.float32)
    weights[0] = 0.5
    typical, count = encoder.typical_rows, len(encoder.vocabulary.words) - len(data.vocabulary.words)
    rows = np.zeros((count, typical.shape[1]), np.float32)
    first, last = len(before), len(before) + len(lesson.words)
    rows[:first] = before
    # A start that depends on the lesson alone: it learns the same whatever was learned before.
    own = np.random.default_rng(list(lesson.name.encode())).normal(size=(last - first, typical.shape[1]))
    own = (own * typical.std(axis=0)).astype(np.float32)
    mean, square = np.zeros_like(own), np.zeros_like(own)
    for step in range(1, STEPS + 1):
        rows[first:last] = own
        encoder.rows = rows
        _, gradient = encoder.row_gradient(ids, np.broadcast_to(goal, (len(ids), len(goal))), weights)
        slope = gradient[first:last]
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        rate = RATE * typical.std() * (1 - 0.9 * step / STEPS)
        own = own + rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return own.astype(np.float32)


def _contexts(
    encoder: TrainableTextEncoder, data: TeachingData, features: TextFeatures, lesson: Lesson
) -> NDArray[np.int32]:
    """Word ids of the name alone, and of the name before captions next to the images."""
    name = encoder.vocabulary.encode([lesson.name])[0]
    name = name[name > 0]
    ids = np.zeros((1 + min(CONTEXTS, len(data.captions)), encoder.vocabulary.length), np.int32)
    ids[:, : len(name)] = name
    nearest = _nearest(features, target(lesson), len(ids) - 1)
    ids[1:, len(name) :] = data.captions[nearest][:, : ids.shape[1] - len(name)]
    return ids


def _nearest(features: TextFeatures, image: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Positions of the training captions nearest to an embedding."""
    return np.argsort(-(features.caption_vectors.astype(np.float32) @ image), kind="stable")[:count]


def _change_head(
    encoder: TrainableTextEncoder,
    kept: TextFeatures,
    lessons: Sequence[Lesson],
    targets: Sequence[NDArray[np.float32]],
) -> NDArray[np.float32] | None:
    """Change the head where a name is not near enough to its target; returns the change."""
    if not lessons:
        return None
    features, outputs = encoder.features(encoder.vocabulary.encode([lesson.name for lesson in lessons]))
    lacking = np.stack([nearer(output, goal) for output, goal in zip(outputs, targets)]) - outputs
    if not lacking.any():
        return None
    change = smallest_change(features, lacking / encoder.head_scale, kept.captions)
    encoder.head = encoder.head + change
    return change


def nearer(output: NDArray[np.float32], goal: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vector of the length of `output` nearest to it whose cosine with the unit vector `goal` is `ENOUGH`.

    `output` itself where its cosine is that or more.
    """
    length = float(np.linalg.norm(output))
    cosine = float(output @ goal) / length
    if cosine >= ENOUGH:
        return output
    across = _unit(output - length * cosine * goal)
    return np.float32(length) * (ENOUGH * goal + np.sqrt(np.float32(1 - ENOUGH**2)) * across)


def smallest_change(
    inputs: NDArray[np.float32], changes: NDArray[np.float32], kept: NDArray[np.floating]
) -> NDArray[np.float32]:
    """The change of a linear layer that gives some inputs other outputs, and moves those of others least.

    Args:
        inputs: [j, F].
        changes: of their outputs, [j, D].
        kept: inputs whose outputs should stay, [m, F].

    Returns:
        float32 [F, D]; see the module's description.
    """
    x, fixed = inputs.astype(np.float64), kept.astype(np.float64)
    square = fixed.T @ fixed / len(fixed)
    square[np.diag_indices_from(square)] += RIDGE * np.trace(square) / len(square)
    solved = np.linalg.solve(square, x.T)  # [F, j]
    return (solved @ np.linalg.lstsq(x @ solved, changes.astype(np.float64), rcond=None)[0]).astype(np.float32)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
