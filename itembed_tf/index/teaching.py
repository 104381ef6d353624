"""Lessons of an index: its text encoder learns a name for images, or unlearns it, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from itembed_tf.index.build import derive
from itembed_tf.index.database import transaction, writing
from itembed_tf.index.generations import current_generation
from itembed_tf.index.lesson_images import lesson_images
from itembed_tf.index.lessons import MOST_IMAGES, applied, forget_lessons, read_lessons
from itembed_tf.index.records import Generation
from itembed_tf.index.taught_encoders import learn_checked, store_lessons
from itembed_tf.index.teaching_data import load_data
from itembed_tf.progress import running_clock
from itembed_tf.teaching import Lesson, TeachingError
from itembed_tf.teaching.features import text_features
from itembed_tf.teaching.learning import learn


def teach(
    index: str | Path,
    name: str,
    *,
    items: Sequence[int] = (),
    images: Sequence[bytes] = (),
    run: str | Path | None = None,
) -> Lesson:
    """Teach the text encoder of an index the name of what images show. Searches go on meanwhile.

    No vector of an image changes. Sentences in the index are encoded again where the lesson changes them, and the
    hubness correction is computed again.

    Args:
        index: folder.
        name: what a user will search for; words that the vocabulary lacks are added to it.
        items: ids of images in the index.
        images: contents of image files.
        run: directory of the run with which the index was built, for an index that has no data of lessons from it; its
            dataset must be available. The data is then kept in the index.

    Returns:
        The lesson as it is stored.

    Raises:
        TeachingError: no image, a name without a word, encoders that cannot be taught, or a lesson that would lower the
            recall on dev by more than `itembed_tf.index.taught_encoders.MOST_LOST` points; the index is then as before.
        SearchIndexError: not an index, no such item, or an image that cannot be read.
        Locked: another process writes to the index.
    """
    index, name = Path(index), " ".join(name.split())
    if not 1 <= len(items) + len(images) <= MOST_IMAGES:
        raise TeachingError(f"a lesson takes 1 to {MOST_IMAGES} images, not {len(items) + len(images)}")
    with writing(index) as connection:
        generation = _generation(connection, index)
        data = load_data(index, generation, run)
        shown = lesson_images(index, connection, generation, items, images)
        before = read_lessons(connection, generation)
        created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        with running_clock("learning"):
            features = text_features(data)
            new = Lesson(0, name, shown.contents, shown.vectors, created)
            taught = learn_checked(data, features, applied(before), new)
        # Given again, a lesson that the encoders did not take after an upgrade has its place in this one.
        others = [lesson for lesson in before if lesson.problem and lesson.name != name]
        stored = store_lessons(connection, generation, data, taught, [*others, *taught.lessons], shown.copies)
    derive(index)
    return stored[-1]


def unlearn(index: str | Path, number: int | None = None) -> Lesson:
    """Undo a lesson, the last one by default: the encoders become those with all other lessons.

    Raises:
        TeachingError: there is no such lesson, or what it was taught with is missing from the index.
        and those of `teach`.
    """
    index = Path(index)
    with writing(index) as connection:
        generation = _generation(connection, index)
        before = read_lessons(connection, generation)
        if not before:
            raise TeachingError(f"the encoders of {index} have no lesson to undo")
        undone = next((each for each in before if each.number == (number or before[-1].number)), None)
        if undone is None:
            known = ", ".join(str(each.number) for each in before)
            raise TeachingError(f"{index} has no lesson {number}; its lessons are: {known}")
        if undone.problem:
            with transaction(connection):
                forget_lessons(connection, undone.number)
            return undone
        data = load_data(index, generation)
        with running_clock("learning the other lessons"):
            taught = learn(data, text_features(data), applied(each for each in before if each is not undone))
        others = [lesson for lesson in before if lesson.problem]
        store_lessons(connection, generation, data, taught, [*others, *taught.lessons])
    derive(index)
    return undone


def _generation(connection: sqlite3.Connection, index: Path) -> Generation:
    generation = current_generation(connection)
    if generation is None:
        raise TeachingError(f"{index} has no encoders yet: add images with `itembed index RUN INPUT --out {index}`")
    return generation
