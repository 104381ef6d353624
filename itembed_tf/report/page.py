"""The report of a run: report/index.html, one self-contained file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itembed_tf.analysis.records import Analysis
from itembed_tf.files import write_atomically
from itembed_tf.report import analysis_sections, charts, headline, queries
from itembed_tf.report.template import HERE, render
from itembed_tf.report.thumbnails import Thumbnails
from itembed_tf.retrieval import RetrievalTable

if TYPE_CHECKING:  # both modules import TensorFlow, which a page does not need
    from itembed_tf.data.batches import Items
    from itembed_tf.data.unreadable import UnreadableImage
    from itembed_tf.evaluation.embeddings import Embeddings

LISTED = 200  # unreadable images listed at most
LONGEST = 300  # characters of a caption


def write_report(
    folder: str | Path,
    *,
    title: str,
    metrics: Mapping[str, Any],
    split: str,
    table: RetrievalTable | None,
    history: Sequence[Mapping[str, Any]],
    items: Items,
    embeddings: Embeddings,
    skipped: Sequence[UnreadableImage],
    attribution: str,
    facts: Mapping[str, str],
    analysis: Analysis | None,
    corrected: RetrievalTable | None = None,
) -> Path:
    """Write `folder`/index.html. An image that cannot be shown is replaced by its name and the reason.

    Args:
        folder: the report folder of the run.
        title: name of the run.
        metrics: "dataset", "finished" and "stages" of metrics.json (schema 1).
        split: the split shown, of `table`, `items`, `embeddings` and `analysis`.
        table: retrieval results on the split; None if nothing was evaluated.
        history: entries of history.jsonl: stage, epoch, seconds, images_per_s, learning_rate, train (losses by name;
            accuracy_image and accuracy_text from 0 to 1), and for evaluated epochs val (as in metrics.json).
        items: images and captions of the split; may be empty.
        embeddings: of the items.
        skipped: unreadable images.
        attribution: licence line, shown wherever images are; "" for none.
        facts: details of the run, as from `run_facts`.
        analysis: of the split; None leaves its sections out.
        corrected: retrieval results of hubness-corrected scores on the split; None without a calibration.

    Raises:
        ValueError: the numbers of items, embeddings and groups differ.
    """
    _check_counts(items, embeddings)
    image_groups, caption_groups = np.asarray(items.image_groups), np.asarray(items.caption_groups)
    images = queries.Vectors(np.asarray(embeddings.images), image_groups)
    captions = queries.Vectors(np.asarray(embeddings.captions), caption_groups)
    texts = [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in items.captions]
    thumbnails = Thumbnails(items.images)
    sections = queries.sections(images, captions)
    context = {
        "title": title,
        "kind": "report",
        "metrics": metrics,
        "split": split,
        "table": table,
        "directions": headline.directions(table) if table else [],
        "corrected": corrected,
        "charts": charts.training_charts(history) + (charts.overlap_charts(analysis.overlap) if analysis else []),
        "history": history,
        "sections": sections,
        "skipped": skipped,
        "listed": skipped[:LISTED],
        "attribution": attribution,
        "facts": facts,
        "thumbnails": thumbnails,
        "captions": texts,
        "alt": _alternative_texts(texts, image_groups, caption_groups),
        "gallery": {"images": len(items.images), "captions": len(texts)},
        **_analysis_context(analysis),
    }
    for caption in context["shaded"]:  # all thumbnails are read before rendering, because tiles share one aspect ratio
        thumbnails[caption.image]
    for section in sections:
        for example in section.examples:
            for index in [example.query] if section.query == "image" else example.shown():
                thumbnails[index]
    return write_atomically(Path(folder) / "index.html", render(HERE, **context))


def _check_counts(items: Items, embeddings: Embeddings) -> None:
    for name, counts in (
        ("images", (len(items.images), len(embeddings.images), len(items.image_groups))),
        ("captions", (len(items.captions), len(embeddings.captions), len(items.caption_groups))),
    ):
        if len(set(counts)) > 1:
            raise ValueError(
                f"the report needs one embedding and one group for each of the {name}; their numbers are {counts}"
            )


def _analysis_context(analysis: Analysis | None) -> dict[str, Any]:
    if analysis is None:
        return {"matrices": None, "shaded": [], "ranking": None, "ranked_words": []}
    return {
        "matrices": analysis_sections.matrices(analysis.similarity),
        "shaded": analysis_sections.shaded_captions(analysis.examples),
        "ranking": analysis.words,
        "ranked_words": analysis_sections.ranked_words(analysis.words),
    }


def _alternative_texts(captions: Sequence[str], image_groups: np.ndarray, caption_groups: np.ndarray) -> list[str]:
    """Alternative text of each image: the first caption of its group."""
    first: dict[Any, str] = {}
    for group, caption in zip(caption_groups.tolist(), captions, strict=True):
        first.setdefault(group, caption)
    return [first.get(group, f"image {index}") for index, group in enumerate(image_groups.tolist())]
