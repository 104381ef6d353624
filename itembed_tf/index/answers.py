"""Answers as JSON: the same for the command, REST and MCP."""

from __future__ import annotations

from typing import Any

from itembed_tf.index.records import Answer, Facets, Hit, Item


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as values of JSON; docs/search.md describes them."""
    return {
        "hits": [hit_json(hit) for hit in answer.hits],
        "matching": answer.matching,
        "unknown_words": list(answer.unknown_words),
        "notes": list(answer.notes),
        "generation": answer.generation,
    }


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit as values of JSON: what was found, then the item."""
    score = None if hit.score is None else round(hit.score, 6)
    found = {"score": score, "band": hit.band or None, "found_by": list(hit.found_by), "copies": hit.copies}
    item = item_json(hit.item)
    return {"id": item.pop("id"), "path": item.pop("path"), **found, **item}


def item_json(item: Item) -> dict[str, Any]:
    """An item as values of JSON, by the names of the fields that a filter uses."""
    return {
        "id": item.id,
        "path": item.place,
        "kind": item.kind,
        "name": item.name,
        "folder": item.folder,
        "date": item.date,
        "captions": list(item.captions),
        "width": item.width,
        "height": item.height,
        "bytes": item.size,
        "fields": dict(item.fields),
    }


def facets_json(facets: Facets) -> dict[str, Any]:
    """Facets as values of JSON: lists of value and count."""
    return {
        "items": facets.items,
        **{name: [list(pair) for pair in getattr(facets, name)] for name in ("folders", "years", "kinds")},
    }
