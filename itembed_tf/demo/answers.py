"""Answers as JSON for the page: those of `itembed_tf.index.answers`, with what the page needs beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from itembed_tf.demo.lessons import Outcome, Running
from itembed_tf.demo.query_images import KEY_DIGITS
from itembed_tf.demo.word_changes import WordChanges
from itembed_tf.index import Answer, Hit, Item
from itembed_tf.index.answers import answer_json, hit_json, item_json
from itembed_tf.index.lessons import lesson_json
from itembed_tf.teaching import Lesson


def page_hit(hit: Hit) -> dict[str, Any]:
    """A hit with its key."""
    return {"key": hit.item.content[:KEY_DIGITS], **hit_json(hit)}


def page_answer(answer: Answer, limit: int, milliseconds: float) -> dict[str, Any]:
    """An answer with the time that it took; ``more`` says whether there may be further hits than these."""
    return {
        **answer_json(answer),
        "hits": [page_hit(hit) for hit in answer.hits],
        "more": len(answer.hits) == limit,
        "milliseconds": round(milliseconds, 1),
    }


def page_item(items: Sequence[Item], similar: Answer) -> dict[str, Any]:
    """The items of one content: the first one, the paths of all, and similar items."""
    return {
        "key": items[0].content[:KEY_DIGITS],
        **item_json(items[0]),
        "paths": [item.place for item in items],
        "similar": [page_hit(hit) for hit in similar.hits],
    }


def page_words(changes: WordChanges) -> dict[str, Any]:
    """The score of a text, and its words with their changes."""
    words = [{"text": word.text, "spaced": word.spaced, "change": word.change} for word in changes.words]
    return {"score": changes.score, "words": words}


def page_lessons(
    lessons: Sequence[Lesson], cannot: str, running: Running | None, outcome: Outcome | None
) -> dict[str, Any]:
    """The lessons of an index with the keys of their images, the one in progress, and how the last one ended."""
    now = running and {
        "name": running.name,
        "undo": running.undo,
        "step": running.step,
        "seconds": round(time.monotonic() - running.begun),
    }
    listed = [
        {**lesson_json(lesson), "images": [content[:KEY_DIGITS] for content in lesson.images]} for lesson in lessons
    ]
    return {"cannot": cannot, "lessons": listed, "running": now, "outcome": outcome and asdict(outcome)}
