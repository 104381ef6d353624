"""Records as JSON for the page."""

from __future__ import annotations

from typing import Any

from itembed_tf.demo.query_images import KEY_DIGITS
from itembed_tf.demo.word_changes import WordChanges
from itembed_tf.index import Answer, Hit, Item
from itembed_tf.index.records import Facets

CAPTION_LETTERS = 400  # of a caption in a list of hits


def hit_json(hit: Hit) -> dict[str, Any]:
    """What a tile shows."""
    item = hit.item
    return {
        "key": item.content[:KEY_DIGITS],
        "id": item.id,
        "kind": item.kind,
        "name": item.name,
        "caption": item.captions[0][:CAPTION_LETTERS] if item.captions else "",
        "date": item.date,
        "aspect": item.width / item.height if item.width and item.height else 1.0,
        "score": None if hit.score is None else round(float(hit.score), 4),
        "band": hit.band,
        "found_by": list(hit.found_by),
        "copies": hit.copies,
    }


def answer_json(answer: Answer, limit: int, milliseconds: float) -> dict[str, Any]:
    """An answer; ``more`` says whether there may be further hits than these."""
    return {
        "hits": [hit_json(hit) for hit in answer.hits],
        "matching": answer.matching,
        "unknown_words": list(answer.unknown_words),
        "notes": list(answer.notes),
        "generation": answer.generation,
        "more": len(answer.hits) == limit,
        "milliseconds": round(milliseconds, 1),
    }


def facets_json(facets: Facets) -> dict[str, Any]:
    """The values of folder, year and kind with their counts."""
    named = {"folder": facets.folders, "year": facets.years, "kind": facets.kinds}
    return {name: [{"value": value, "count": count} for value, count in values] for name, values in named.items()}


def item_json(items: list[Item], similar: Answer) -> dict[str, Any]:
    """What the detail view shows of the items of one content: the first one, the places of all, similar items."""
    item = items[0]
    return {
        "key": item.content[:KEY_DIGITS],
        "id": item.id,
        "kind": item.kind,
        "name": item.name,
        "folder": item.folder,
        "places": [each.place for each in items],
        "captions": list(item.captions),
        "date": item.date,
        "width": item.width,
        "height": item.height,
        "size": item.size,
        "fields": dict(item.fields),
        "similar": [hit_json(hit) for hit in similar.hits],
    }


def word_changes_json(changes: WordChanges) -> dict[str, Any]:
    """The score of a text, and its words with their changes."""
    words = [{"text": word.text, "spaced": word.spaced, "change": word.change} for word in changes.words]
    return {"score": changes.score, "words": words}
