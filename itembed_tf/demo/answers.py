"""Answers as JSON for the page: those of `itembed_tf.index.answers`, with what the page needs beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itembed_tf.demo.query_images import KEY_DIGITS
from itembed_tf.demo.word_changes import WordChanges
from itembed_tf.index import Answer, Hit, Item
from itembed_tf.index.answers import answer_json, hit_json, item_json


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
