"""One run -> report/index.html: one file with everything inside, that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.data.readers import ImageSource
from itembed_tf.evaluation.catalogue import scored_directions
from itembed_tf.files import write_atomically
from itembed_tf.report import charts, headline, learned, strips
from itembed_tf.report.pictures import Album
from itembed_tf.report.template import HERE, render

SEED = 0  # of the sampled queries: two runs on one data set show the same ones
SAMPLES, WORST = 12, 6  # queries shown each way
PICTURES, SENTENCES = 10, 5  # answers shown to a query
SKIPPED = 200  # named at most
LONGEST = 300  # characters of a caption, so that no caption fills the page


def write_report(
    folder: str | Path,
    *,
    title: str,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    images: Sequence[ImageSource],
    image_embeddings: np.ndarray,
    captions: Sequence[str],
    caption_embeddings: np.ndarray,
    image_groups: np.ndarray,
    caption_groups: np.ndarray,
    skipped: Sequence[Mapping[str, str]],
    attribution: str,
    facts: Mapping[str, str],
    analysis: Mapping[str, Any] | None,
) -> Path:
    """Write `folder`/index.html. A picture that cannot be drawn leaves a named place; it stops nothing.

    Args:
        folder: the run's report folder.
        title: name of the run.
        metrics: what metrics.json holds (schema 1); "test" may be absent, and so may "val" of a stage.
        history: one dict an epoch: stage, epoch, seconds, images_per_s, learning_rate, train (losses by name;
            accuracy_image and accuracy_text from 0 to 1), and where it was measured val (as in metrics.json).
        images: paths or file bytes of the split shown: test where metrics have one, else dev; may be empty.
        image_embeddings: float32 [images, D], unit length.
        captions: sentences of the same split.
        caption_embeddings: float32 [captions, D], unit length.
        image_groups: int [images]; equal numbers belong together.
        caption_groups: int [captions].
        skipped: dicts of "image" and "reason".
        attribution: licence line that must stand where the pictures are shown; "" for none.
        facts: name -> value, shown in this order.
        analysis: of the split shown, as `itembed_tf.analysis.measures.analyze` gives it; None leaves its parts out.

    Raises:
        ValueError: embeddings, groups and pictures or captions differ in number.
    """
    counts = {"images": (len(images), len(image_embeddings), len(image_groups))}
    counts["captions"] = (len(captions), len(caption_embeddings), len(caption_groups))
    for name, count in counts.items():
        if len(set(count)) > 1:
            raise ValueError(f"the report needs an embedding and a group for each of the {name}, got {count}")
    image_groups, caption_groups = np.asarray(image_groups), np.asarray(caption_groups)
    picture_side = (np.asarray(image_embeddings), image_groups)
    sentence_side = (np.asarray(caption_embeddings), caption_groups)
    album = Album(images)
    captions = [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in captions]
    drawn = charts.curves(history) + [chart for chart in [analysis and charts.overlap(analysis["overlap"])] if chart]
    sections = _sections(picture_side, sentence_side)
    context = {
        "title": title,
        "kind": "report",
        "metrics": metrics,
        "split": _split(metrics),
        "directions": _directions(metrics, picture_side, sentence_side),
        "charts": drawn,
        "history": history,
        "sections": sections,
        "skipped": skipped,
        "skipped_shown": skipped[:SKIPPED],
        "attribution": attribution,
        "facts": facts,
        "album": album,
        "captions": captions,
        "alt": _alternatives(captions, image_groups, caption_groups),
        "gallery": {"pictures": len(images), "sentences": len(captions)},
        **_learned(analysis),
    }
    for sentence in context["shaded"]:
        album[sentence["picture"]]
    for section in sections:  # read all pictures first: the page's tiles take their common shape
        for strip in section["strips"]:
            shown = [strip["query"]] if section["query"] == "picture" else [hit["item"] for hit in _answers(strip)]
            [album[index] for index in shown]
    return write_atomically(Path(folder) / "index.html", render(HERE, **context))


def _learned(analysis: Mapping[str, Any] | None) -> dict[str, Any]:
    if analysis is None:
        return {"squares": None, "shaded": [], "words": {}, "tables": []}
    words = analysis["words"]
    shown = {"shaded": learned.shaded(analysis["sentences"]), "words": words, "tables": learned.in_order(words)}
    return {"squares": learned.squares(analysis["similarity"]), **shown}


def _split(metrics: Mapping[str, Any]) -> str:
    return next((split for split in ("test", "dev", "train") if metrics.get(split)), "dev")


def _answers(strip: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*strip["hits"], strip["missed"]] if strip["missed"] else strip["hits"]


Side = tuple[np.ndarray, np.ndarray]


def _directions(metrics: Mapping[str, Any], pictures: Side, sentences: Side) -> list[dict[str, Any]]:
    """The headline, of the queries that count: the figures of the split shown, else the last ones of dev."""
    table = metrics.get(_split(metrics))
    if not table:
        table = next((stage["val"] for stage in reversed(metrics.get("stages", [])) if stage.get("val")), None)
    if not table:
        return []
    intervals = table.get("interval_95", {})
    found = []
    for way, query, item, queries, items in (
        ("text_query", "sentence", "picture", sentences[1], pictures[1]),
        ("image_query", "picture", "sentence", pictures[1], sentences[1]),
    ):
        if way not in scored_directions(table.get("name", "")):
            continue
        number = len(queries) or table.get(f"gallery_{'captions' if query == 'sentence' else 'images'}", 0)
        rows = headline.direction(table[way], intervals.get(way, {}), queries, items)
        words = headline.sentence(table[way], number, query, item)
        sums = {"rsum": float(table["rsum"]), "rsum_interval": intervals.get("rsum")}
        found.append({"query": query, "item": item, "rows": rows, "words": words, **sums})
    return found


def _sections(pictures: Side, sentences: Side) -> list[dict[str, Any]]:
    """Sampled and worst queries, both ways."""
    found = []
    ways = ("sentence", sentences, pictures, PICTURES), ("picture", pictures, sentences, SENTENCES)
    for query, one, other, count in ways:
        vectors, groups = one
        able, ranks = strips.query_ranks(vectors, other[0], groups, other[1])
        for kind, chosen in (
            ("sampled", strips.sample(able, groups, SAMPLES, SEED)),
            ("worst", strips.worst(able, ranks, groups, WORST)),
        ):
            shown = strips.strips(chosen, vectors, other[0], groups, other[1], able, ranks, count)
            found.append({"kind": kind, "query": query, "queries": len(able), "items": len(other[1]), "strips": shown})
    return sorted(found, key=lambda section: section["kind"] != "sampled")


def _alternatives(captions: Sequence[str], image_groups: np.ndarray, caption_groups: np.ndarray) -> list[str]:
    """What stands for a picture where it cannot be seen: the first caption of its group."""
    first: dict[Any, str] = {}
    for group, caption in zip(caption_groups.tolist(), captions, strict=True):
        first.setdefault(group, caption)
    return [first.get(group, f"picture {index}") for index, group in enumerate(image_groups.tolist())]
