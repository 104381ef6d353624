"""Named evaluation protocols: scores and a gallery in, a retrieval table and the ranks of every query out.

Figures of two protocols, or of two galleries, are not comparable. Each protocol therefore checks that the gallery has
the size it needs and raises an error otherwise. Correct answers are those of the query's group (an image and its
captions; an identity with all of its images and captions), except for CxC and ECCV Caption, which publish lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from itembed_tf.evaluation.catalogue import PROTOCOLS, scored_directions, usual_protocol
from itembed_tf.evaluation.coco_positives import correct_answers
from itembed_tf.evaluation.gallery import Gallery, first_five, numeric_ids, positions, published_five_thousand, subset
from itembed_tf.evaluation.measurement import Measurement, QueryRanks, measurement, with_intervals
from itembed_tf.retrieval import (
    QUERY_DIRECTIONS,
    RetrievalTable,
    Scores,
    average_precision,
    average_precision_at_r,
    inverse_negative_penalty,
    r_precision,
    relevant_ranks,
    two_way_ranks,
)


def measure(name: str, scores: Scores, gallery: Gallery, text_scores: Scores | None = None) -> Measurement:
    """Evaluate by one of `PROTOCOLS`.

    Intervals are those of a bootstrap with 2,000 resamples of whole groups and a fixed seed.

    Args:
        name: of the protocol.
        scores: of all images with all captions.
        gallery: their groups.
        text_scores: those of text queries, where they differ from those of image queries; None: `scores`.

    Raises:
        ValueError: an unknown name, a group without an image or a caption, or a gallery that the protocol does not fit.
        ModuleNotFoundError: the protocol needs COCO's published ids and eccv-caption is not installed.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")
    measured = _MEASURES[name](scores, gallery)
    if text_scores is not None:
        by_text = _MEASURES[name](text_scores, gallery)
        queries = {**measured.queries, "text_query": by_text.queries["text_query"]}
        measured = Measurement(replace(measured.table, text_query=by_text.table.text_query), queries)
    table = replace(measured.table, name=f"{name}/{measured.table.gallery_images}x{measured.table.gallery_captions}")
    return replace(measured, table=with_intervals(table, measured.queries))


def protocol_for(data_set: str, gallery: Gallery) -> str:
    """The protocol of published results on a dataset, if the gallery has the size it needs; else "whole"."""
    name, images = usual_protocol(data_set)
    try:
        if images:
            first_five(gallery, images, name)
    except ValueError:
        return "whole"
    return name


def selection_score(table: RetrievalTable, data_set: str) -> float:
    """Score for model selection: the sum of the recalls of the directions that the dataset's usual protocol scores."""
    return table.recall_sum(scored_directions(usual_protocol(data_set)[0]))


def whole(scores: Scores, gallery: Gallery) -> Measurement:
    """All images against all captions; groups may have any size."""
    ranks = two_way_ranks(scores, gallery.images, gallery.captions)
    queries = {
        direction: QueryRanks(ranks[i], groups)
        for i, (direction, groups) in enumerate(zip(QUERY_DIRECTIONS, (gallery.images, gallery.captions)))
    }
    image_groups, caption_groups = (_counts(groups) for groups in (gallery.images, gallery.captions))
    relevant = {
        "image_query": np.array([caption_groups[group] for group in gallery.images.tolist()]),
        "text_query": np.array([image_groups[group] for group in gallery.captions.tolist()]),
    }
    return measurement(queries, relevant, gallery)


def flickr_1k(scores: Scores, gallery: Gallery) -> Measurement:
    """1,000 images against the first five captions of each (Flickr8k and Flickr30k have exactly five)."""
    return whole(*_five_each(scores, gallery, 1000, "flickr-1k"))


def coco_5k(scores: Scores, gallery: Gallery) -> Measurement:
    """5,000 images against the first five captions of each: 25,000 of the 25,010, as VSE++ and most others do."""
    return whole(*_five_each(scores, gallery, 5000, "coco-5k"))


def coco_1k(scores: Scores, gallery: Gallery) -> Measurement:
    """Mean over the five published folds of COCO's 5,000 test images: 1,000 images and 5,000 captions each."""
    return _folds(*published_five_thousand(scores, gallery, "coco-1k"))


def coco_1k_listed(scores: Scores, gallery: Gallery) -> Measurement:
    """As coco-1k for any 5,000 images, with folds in file order: not the folds of published COCO 1K results."""
    return _folds(*_five_each(scores, gallery, 5000, "coco-1k-listed"))


def cuhk(scores: Scores, gallery: Gallery) -> Measurement:
    """Person search (CUHK-PEDES, IRRA): text queries with R@K, mAP and mINP over all images of the identity.

    Only text → image results are published; image → text is computed for information.
    """
    measured = whole(scores, gallery)
    rows = positions(gallery.images)
    relevant = {i: rows[group] for i, group in enumerate(gallery.captions.tolist())}
    ranks = relevant_ranks(scores, relevant, direction="text_query")
    rates = {"mAP": average_precision(ranks), "mINP": inverse_negative_penalty(ranks)}
    text = replace(measured.queries["text_query"], rates=rates)
    figures = replace(measured.table.text_query, values=text.values())
    return Measurement(replace(measured.table, text_query=figures), {**measured.queries, "text_query": text})


def cxc(scores: Scores, gallery: Gallery) -> Measurement:
    """COCO 5K with the correct answers of Crisscrossed Captions, which include matches of other images."""
    return by_answers(scores, gallery, correct_answers("cxc"), "cxc")


def eccv(scores: Scores, gallery: Gallery) -> Measurement:
    """COCO 5K with the correct answers of ECCV Caption: R@1, R-Precision and mAP@R of the queries that have any."""
    return by_answers(scores, gallery, correct_answers("eccv"), "eccv", precision=True)


def by_answers(
    scores: Scores,
    gallery: Gallery,
    answers: tuple[Mapping[int, Sequence[int]], Mapping[int, Sequence[int]]],
    name: str,
    *,
    precision: bool = False,
) -> Measurement:
    """COCO 5K with lists of correct answers per image id and per caption id, as `correct_answers` returns them."""
    scores, gallery = published_five_thousand(scores, gallery, name)
    assert gallery.caption_ids is not None
    rows = {number: i for i, number in enumerate(numeric_ids(gallery.images))}
    columns = {number: i for i, number in enumerate(gallery.caption_ids.tolist())}
    queries, relevant = {}, {}
    for direction, lists, ids, items in zip(QUERY_DIRECTIONS, answers, (rows, columns), (columns, rows)):
        known = {ids[query]: [items[item] for item in lists[query] if item in items] for query in lists}
        ranks = relevant_ranks(scores, known, direction=direction)
        counts = [len(lists[query]) for query in lists]
        groups = (gallery.images if direction == "image_query" else gallery.captions)[list(known)]
        rates = {"R-Precision": r_precision(ranks, counts), "mAP@R": average_precision_at_r(ranks, counts)}
        queries[direction] = QueryRanks(np.array([own[0] for own in ranks]), groups, rates if precision else {})
        relevant[direction] = np.array([len(own) for own in known.values()])
    return measurement(queries, relevant, gallery)


_MEASURES: dict[str, Callable[[Scores, Gallery], Measurement]] = {
    "whole": whole,
    "flickr-1k": flickr_1k,
    "coco-1k": coco_1k,
    "coco-1k-listed": coco_1k_listed,
    "coco-5k": coco_5k,
    "cuhk": cuhk,
    "cxc": cxc,
    "eccv": eccv,
}


def _five_each(scores: Scores, gallery: Gallery, images: int, name: str) -> tuple[Scores, Gallery]:
    return subset(scores, gallery, np.arange(images), first_five(gallery, images, name))


def _counts(groups: NDArray[np.str_]) -> dict[str, int]:
    return {group: len(items) for group, items in positions(groups).items()}


def _folds(scores: Scores, gallery: Gallery) -> Measurement:
    """Mean over five folds, each a fifth of the images and captions, in their order."""
    size, width = len(gallery.images) // 5, len(gallery.captions) // 5
    rows, columns = np.arange(size), np.arange(width)
    folds = [whole(*subset(scores, gallery, rows + i * size, columns + i * width)) for i in range(5)]
    figures, queries = {}, {}
    for direction in QUERY_DIRECTIONS:
        parts = [fold.table[direction] for fold in folds]
        values, chance = (_mean([getattr(part, kind) for part in parts]) for kind in ("values", "chance"))
        figures[direction] = replace(parts[0], values=values, chance=chance)
        ranks, groups = ([getattr(fold.queries[direction], key) for fold in folds] for key in ("ranks", "groups"))
        queries[direction] = QueryRanks(np.concatenate(ranks), np.concatenate(groups))
    return Measurement(
        replace(folds[0].table, folds=5, image_query=figures["image_query"], text_query=figures["text_query"]), queries
    )


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
