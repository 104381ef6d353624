"""The encoders of an index with lessons: learned, checked on dev, and stored with everything that depends on them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from itembed_tf.exporting.litert_convert import convert
from itembed_tf.exporting.litert_from_export import check_litert
from itembed_tf.index.calibrating import update_biases
from itembed_tf.index.calibration import fast_calibration
from itembed_tf.index.changed_sentences import changed_sentences
from itembed_tf.index.database import transaction
from itembed_tf.index.generations import StoredEncoders, read_encoders
from itembed_tf.index.lessons import read_lessons, write_lessons
from itembed_tf.index.records import Generation
from itembed_tf.index.text_encoder import tokenizer_json
from itembed_tf.retrieval.calibration import Calibration, calibration_bytes
from itembed_tf.retrieval.hubness import Bank
from itembed_tf.teaching import Lesson, TeachingData, TeachingError
from itembed_tf.teaching.features import TextFeatures
from itembed_tf.teaching.learning import Taught, learn
from itembed_tf.teaching.recall import dev_recall

MOST_LOST = 0.3  # points of `dev_recall` that all lessons together may cost
SMALLEST_BIAS = 1e-3  # change of a bias: a smaller one is not worth another row in the files of the engines


def learn_checked(data: TeachingData, features: TextFeatures, before: Sequence[Lesson], new: Lesson) -> Taught:
    """The text encoder with one more lesson, whose recall on dev is measured.

    Args:
        data, features: of the encoders before any lesson.
        before: the lessons that they have.
        new: the lesson.

    Raises:
        TeachingError: a name that cannot be learned, or that would lower the recall on dev by more than `MOST_LOST`.
    """
    taught = learn(data, features, [*before, new])
    untaught, now = dev_recall(data, features), dev_recall(data, features, taught)
    was = before[-1].recall_after if before else untaught
    if now < untaught - MOST_LOST:
        raise TeachingError(
            f"{new.name!r} was not learned: R@1 on dev, the mean of both directions, would be {now:.2f} % with this "
            f"lesson; it was {was:.2f} % before, {untaught:.2f} % before any lesson, and may fall by {MOST_LOST} "
            "points. Choose a name with a word of its own, such as a brand or a person's name"
        )
    last = replace(taught.lessons[-1], recall_before=was, recall_after=now)
    return replace(taught, lessons=(*taught.lessons[:-1], last))


def store_lessons(
    connection: sqlite3.Connection,
    generation: Generation,
    data: TeachingData,
    taught: Taught,
    lessons: Sequence[Lesson],
    images: Mapping[str, bytes] | None = None,
) -> list[Lesson]:
    """Put taught encoders in the place of those of a generation, in one transaction; returns its lessons as stored.

    Sentences that the encoders embed otherwise, the bank of training captions and the biases of the hubness correction
    change with them.

    Args:
        connection: that writes.
        generation: of the base, with or without lessons.
        data: of the base.
        taught: the encoders.
        lessons: all of the generation: those of `taught`, and those with a problem.
        images: see `write_lessons`.
    """
    encoder, contract = taught.encoder, taught.encoder.contract
    before = fast_calibration(read_encoders(connection, generation.contract).calibration, generation.contract)
    calibration = _calibration(connection, generation, data, taught)
    encoders = StoredEncoders(
        contract,
        generation.dimensions,
        _litert(taught),
        tokenizer_json(encoder.vocabulary),
        calibration_bytes(calibration) if calibration else None,
    )
    sentences = changed_sentences(connection, generation, encoder, calibration)
    with transaction(connection) as revision:
        write_lessons(connection, generation, encoders, lessons, images)
        sentences.write(connection, revision)
        if calibration and before and not np.array_equal(calibration.captions.vectors, before.captions.vectors):
            smallest = SMALLEST_BIAS if taught.lessons else 0.0  # without a lesson, all is as it was
            update_biases(connection, revision, generation, calibration, ("image",), smallest=smallest)
    return read_lessons(connection, replace(generation, contract=contract, base=generation.image_contract))


def _calibration(
    connection: sqlite3.Connection, generation: Generation, data: TeachingData, taught: Taught
) -> Calibration | None:
    """The calibration of the base for taught encoders: where other texts change, its captions are embedded again.

    Strengths and bands stay as they were measured.
    """
    base = generation.image_contract
    calibration = fast_calibration(read_encoders(connection, base).calibration, base)
    if calibration is None:
        return None
    captions = calibration.captions
    if taught.head_change is not None:
        embedded = taught.encoder.embed(data.captions).astype(np.float16)  # as it is stored
        captions = Bank(embedded.astype(np.float32), data.caption_groups)
    return replace(calibration, contract=taught.encoder.contract, captions=captions)


def _litert(taught: Taught) -> bytes:
    """The text encoder as a LiteRT file, which gives the same embeddings."""
    encoder = taught.encoder
    content = convert(encoder.model, name="ids", precision="float32")
    check_litert(content, encoder.vocabulary, encoder.embed, [lesson.name.encode() for lesson in taught.lessons])
    return content
