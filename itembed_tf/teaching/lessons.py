"""Lessons: a name for images is learned by the text encoder of an index, or unlearned, in one transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.exporting.litert_convert import convert
from itembed_tf.exporting.litert_from_export import check_litert
from itembed_tf.index.database import transaction, writing
from itembed_tf.index.generations import StoredEncoders, current_generation, read_encoders
from itembed_tf.index.items import read_items, read_vectors
from itembed_tf.index.lessons import Lesson, read_lessons, write_lessons
from itembed_tf.index.records import Generation
from itembed_tf.index.text_encoder import tokenizer_json
from itembed_tf.progress import running_clock
from itembed_tf.retrieval.calibration import calibration_bytes, parse_calibration
from itembed_tf.teaching.data import TeachingData, TeachingError, data_file, read_data, write_data
from itembed_tf.teaching.images import embed_images
from itembed_tf.teaching.learning import Taught, learn
from itembed_tf.teaching.recall import dev_recall
from itembed_tf.teaching.sentences import changed_sentences

MOST_LOST = 0.3  # points of `dev_recall` that all lessons together may cost
MOST_IMAGES = 64  # of one lesson


def teach(
    index: str | Path,
    name: str,
    *,
    items: Sequence[int] = (),
    images: Sequence[bytes] = (),
    run: str | Path | None = None,
) -> Lesson:
    """Teach the text encoder of an index the name of what images show. Searches go on meanwhile.

    No vector of an image changes. Sentences in the index are encoded again where the lesson changes them.

    Args:
        index: folder.
        name: what a user will search for; words that the vocabulary lacks are added to it.
        items: ids of images in the index.
        images: contents of image files.
        run: directory of the run with which the index was built. It, and its dataset, are needed once; what later
            lessons need of it is then kept in the index.

    Returns:
        The lesson as it is stored.

    Raises:
        TeachingError: no image, a name without a word, encoders that cannot be taught, or a lesson that would lower the
            recall on dev by more than `MOST_LOST` points; the index is then as before.
        SearchIndexError: not an index, no such item, or an image that cannot be read.
        Locked: another process writes to the index.
    """
    index = Path(index)
    if not 1 <= len(items) + len(images) <= MOST_IMAGES:
        raise TeachingError(f"a lesson takes 1 to {MOST_IMAGES} images, not {len(items) + len(images)}")
    with writing(index) as connection:
        generation = _generation(connection, index)
        vectors, contents = _of_items(connection, generation, items)
        if images:
            vectors = np.concatenate([vectors, embed_images(index, generation, images)])
            contents += [hashlib.sha256(image).hexdigest() for image in images]
        data = _data(index, generation, run)
        before = read_lessons(connection, generation)
        created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        new = Lesson(0, " ".join(name.split()), tuple(contents), vectors, created)
        return _apply(connection, generation, data, before, [*before, new])[-1]


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
        _apply(connection, generation, _data(index, generation, None), before, [x for x in before if x is not undone])
        return undone


def _generation(connection: sqlite3.Connection, index: Path) -> Generation:
    generation = current_generation(connection)
    if generation is None:
        raise TeachingError(f"{index} has no encoders yet: add images with `itembed index RUN INPUT --out {index}`")
    return generation


def _of_items(
    connection: sqlite3.Connection, generation: Generation, ids: Sequence[int]
) -> tuple[NDArray[np.float32], list[str]]:
    """Vectors and contents of items; they must be images."""
    found = {item.id: item for item in read_items(connection, ids)}
    for id in ids:
        if id not in found:
            raise TeachingError(f"the index has no item {id}; `itembed search INDEX TEXT` shows the ids of its hits")
        if found[id].kind != "image":
            raise TeachingError(f"item {id} is a sentence; a lesson takes images")
    if not ids:
        return np.zeros((0, generation.dimensions), np.float32), []
    vectors = read_vectors(connection, ids, generation.number)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), [found[id].content for id in ids]


def _data(index: Path, generation: Generation, run: str | Path | None) -> TeachingData:
    """The data of lessons, from the index, or from the run, and then kept in the index."""
    contract = generation.image_contract
    file = data_file(index, contract)
    data = read_data(file, contract)
    if data is None and run is None:
        raise TeachingError(
            f"the first lesson of {index} needs the run with which it was built, and its dataset: add --run RUN. What "
            "later lessons need of it is then kept in the index"
        )
    if data is None:
        from itembed_tf.teaching.preparation import prepare

        assert run is not None
        data = prepare(run, contract)
        write_data(file, data)
    return data


def _apply(
    connection: sqlite3.Connection,
    generation: Generation,
    data: TeachingData,
    before: Sequence[Lesson],
    lessons: Sequence[Lesson],
) -> list[Lesson]:
    """Put the encoders with `lessons` in the place of those with the lessons `before`; returns them as stored."""
    with running_clock("learning"):
        taught = learn(data, lessons)
    with running_clock("measuring recall on dev"):
        untaught, now = dev_recall(data), dev_recall(data, taught)
    stored = list(taught.lessons)
    if len(lessons) > len(before):
        was = before[-1].recall_after if before else untaught
        stored[-1] = replace(stored[-1], recall_before=was, recall_after=now)
        if now < untaught - MOST_LOST:
            raise TeachingError(
                f"{stored[-1].name!r} was not learned: R@1 on dev, the mean of both directions, would be {now:.2f} % "
                f"with this lesson; it was {was:.2f} % before, {untaught:.2f} % before any lesson, and may fall by "
                f"{MOST_LOST} points. Choose a name with a word of its own, such as a brand or a person's name"
            )
    encoder, contract = taught.encoder, taught.encoder.contract
    calibration = read_encoders(connection, generation.contract).calibration
    # Its bank and the biases of the items stay: they say how near an item is to captions of the training.
    restamped = calibration and replace(parse_calibration(calibration, generation.contract), contract=contract)
    encoders = StoredEncoders(
        contract,
        generation.dimensions,
        _litert(taught),
        tokenizer_json(encoder.vocabulary),
        calibration_bytes(restamped) if restamped else None,
    )
    sentences = changed_sentences(connection, generation, encoder, restamped or None)
    with transaction(connection) as revision:
        write_lessons(connection, generation, encoders, stored)
        sentences.write(connection, revision)
    return read_lessons(connection, replace(generation, contract=contract, base=generation.image_contract))


def _litert(taught: Taught) -> bytes:
    """The text encoder as a LiteRT file, which gives the same embeddings."""
    encoder = taught.encoder
    content = convert(encoder.model, name="ids", precision="float32")
    check_litert(content, encoder.vocabulary, encoder.embed, [lesson.name.encode() for lesson in taught.lessons])
    return content
