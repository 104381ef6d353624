"""Lessons carried over an upgrade: each is learned again by the new encoders, with the same check as before."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

from itembed_tf.index.database import transaction
from itembed_tf.index.generations import all_generations
from itembed_tf.index.lesson_images import images_again
from itembed_tf.index.lessons import put_lessons, read_lessons
from itembed_tf.index.records import Generation
from itembed_tf.index.teaching_data import load_data
from itembed_tf.index.vectors import Vectors
from itembed_tf.progress import running_clock
from itembed_tf.teaching import Lesson, TeachingError


def mapped_images(connection: sqlite3.Connection, old: Generation, new: Generation) -> list[int]:
    """Ids of the items that the lessons of one generation show whose vectors in another one are mapped."""
    contents = {content for lesson in read_lessons(connection, old) for content in lesson.images}
    query = "SELECT id FROM items JOIN vectors ON item = id WHERE content = ? AND generation = ? AND mapped = 1"
    return sorted(row[0] for content in contents for row in connection.execute(query, (content, new.number)))


def replay_lessons(
    connection: sqlite3.Connection,
    old: Generation,
    new: Generation,
    vectors: Vectors,
    report: Callable[[str], None],
) -> Generation:
    """Teach the encoders of a generation that is being built the lessons of the one that is searched.

    All are stored in one transaction; called again, nothing is done. A lesson that fails is kept with its problem, and
    the encoders do not have it.

    Args:
        connection: that writes.
        old, new: the generations; every item of a lesson should have a vector of its own in `new`.
        vectors: of `new`.
        report: called with a line for each lesson.

    Returns:
        `new`, with the contract hash that it has afterwards.
    """
    lessons = read_lessons(connection, old)
    if [each.name for each in lessons] == [each.name for each in read_lessons(connection, new)]:
        return new
    from itembed_tf.index.taught_encoders import learn_checked, store_lessons  # which load TensorFlow
    from itembed_tf.teaching.features import text_features
    from itembed_tf.teaching.learning import learn

    problem, taught, failed = "", None, dict[int, Lesson]()
    try:
        data = load_data(vectors.index, new)
        with running_clock("reading what lessons need"):
            features = text_features(data)
            taught = learn(data, features, [])
    except TeachingError as error:
        problem = str(error)
    for number, lesson in enumerate(lessons):
        images = images_again(connection, new, vectors, lesson)
        again = Lesson(0, lesson.name, images.contents, images.vectors, lesson.created)
        reason = problem or ("" if images.contents else "none of its images is in the index any more")
        if taught and not reason:
            try:
                with running_clock(f"learning {lesson.name!r}"):
                    taught = learn_checked(data, features, taught.lessons, again)
            except TeachingError as error:
                reason = str(error)
        if reason:
            failed[number] = replace(again, images=lesson.images, problem=reason)
        report(f"lesson {lesson.name!r}: {f'not applied: {reason}' if reason else 'learned by the new encoders'}")
    learned = iter(taught.lessons if taught else ())
    kept = [failed.get(number) or next(learned) for number in range(len(lessons))]
    if taught and taught.lessons:
        store_lessons(connection, new, data, taught, kept)
    else:
        with transaction(connection):
            put_lessons(connection, new, kept)
    return next(each for each in all_generations(connection) if each.number == new.number)
