"""Scores and the names of what was scored -> a block of figures that carries its protocol and its gallery.

Figures of two protocols, or of two galleries, cannot be compared. So each protocol checks that it fits what it is
given, and refuses where it does not. Right answers are by group (a picture and its captions; an identity with all of
its pictures and captions), but for CxC and ECCV Caption, whose lists are published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.evaluation.coco_positives import right_answers
from itembed_tf.evaluation.gallery import Gallery, first_five, numbers, part, places, published_five_thousand
from itembed_tf.retrieval import (
    RESAMPLES,
    SEED,
    Scores,
    average_precision,
    average_precision_at_r,
    interval_95,
    inverse_negative_penalty,
    r_precision,
    recalls,
    resampled_means,
    right_ranks,
    rsum,
    two_way_ranks,
)

Block = dict[str, Any]
QUERY_DIRECTIONS = ("image_query", "text_query")


@dataclass(frozen=True)
class QueryRanks:
    """What came of the queries of one side: the best rank of each, its group, and other figures of it in [0, 1]."""

    ranks: NDArray[np.int64]
    groups: NDArray[np.str_]
    others: dict[str, NDArray[np.float64]] = field(default_factory=dict)


Measured = tuple[Block, dict[str, QueryRanks]]


def measure(name: str, scores: Scores, gallery: Gallery) -> Measured:
    """Measure by one of `PROTOCOLS`.

    Returns:
        The block: {"name": protocol/pictures x captions, "gallery_images", "gallery_captions", "image_query",
        "text_query", "rsum", "interval_95"}; recalls and the other figures in percent. `interval_95` has, for each of
        them, the bounds of a bootstrap of 2,000 resamples over groups, from a fixed seed. And what came of each query.

    Raises:
        ValueError: an unknown name, a group without a picture or a caption, or a gallery that the protocol does not
            fit, saying what is there.
        ModuleNotFoundError: the protocol needs COCO's published ids and eccv-caption is not installed.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol {name!r} is not known; choose one of {', '.join(PROTOCOLS)}")
    block, asked = PROTOCOLS[name][0](scores, gallery)
    sizes = f"{block['gallery_images']}x{block['gallery_captions']}"
    return {"name": f"{name}/{sizes}", **block, "interval_95": _intervals(asked)}, asked


def protocol_for(data_set: str, gallery: Gallery) -> str:
    """The protocol that published figures on a data set follow, where the gallery has its size; else "whole"."""
    name, pictures = USUAL.get(data_set, ("whole", 0))
    try:
        if pictures:
            first_five(gallery, pictures, name)
    except ValueError:
        return "whole"
    return name


def counted(protocol: str) -> tuple[str, ...]:
    """The queries whose figures count by a protocol; its name may have the gallery behind it, as in a block."""
    return COUNTED.get(protocol.partition("/")[0], QUERY_DIRECTIONS)


def selection_score(table: Block, data_set: str) -> float:
    """What a table on dev says of a model: the recalls that count by the data set's usual protocol, added up."""
    return rsum(table, counted(USUAL.get(data_set, ("whole", 0))[0]))


def whole(scores: Scores, gallery: Gallery) -> Measured:
    """All pictures against all captions, however many a group has."""
    ranks = two_way_ranks(scores, gallery.images, gallery.captions)
    asked = dict(zip(QUERY_DIRECTIONS, (QueryRanks(ranks[0], gallery.images), QueryRanks(ranks[1], gallery.captions))))
    return _block(asked, gallery), asked


def flickr_1k(scores: Scores, gallery: Gallery) -> Measured:
    """1,000 pictures against the first five captions of each (Flickr8k, Flickr30k; they have no more)."""
    return whole(*_five_each(scores, gallery, 1000, "flickr-1k"))


def coco_5k(scores: Scores, gallery: Gallery) -> Measured:
    """5,000 pictures against the first five captions of each: 25,000 of the 25,010, as VSE++ and most others do."""
    return whole(*_five_each(scores, gallery, 5000, "coco-5k"))


def coco_1k(scores: Scores, gallery: Gallery) -> Measured:
    """The five published folds of COCO's 5,000, 1,000 pictures with their 5,000 captions each; figures averaged."""
    return _folds(*published_five_thousand(scores, gallery, "coco-1k"))


def coco_1k_listed(scores: Scores, gallery: Gallery) -> Measured:
    """As coco-1k, of any 5,000 pictures, with folds in the order of the list: not the folds of published COCO 1K."""
    return _folds(*_five_each(scores, gallery, 5000, "coco-1k-listed"))


def cuhk(scores: Scores, gallery: Gallery) -> Measured:
    """Person search: a caption looks for all pictures of its identity; R@K, mAP and mINP (CUHK-PEDES, IRRA).

    Only the text query is published; the image query stands beside it for ourselves.
    """
    block, asked = whole(scores, gallery)
    rows = places(gallery.images)
    right = {i: rows[group] for i, group in enumerate(gallery.captions.tolist())}
    ranks = right_ranks(scores, right, images_ask=False)
    others = {"mAP": average_precision(ranks), "mINP": inverse_negative_penalty(ranks)}
    asked["text_query"] = QueryRanks(asked["text_query"].ranks, gallery.captions, others)
    return {**block, "text_query": _figures(asked["text_query"])}, asked


def cxc(scores: Scores, gallery: Gallery) -> Measured:
    """COCO 5K by the right answers of Crisscrossed Captions, which are more than one picture's own."""
    return by_answers(scores, gallery, right_answers("cxc"), "cxc")


def eccv(scores: Scores, gallery: Gallery) -> Measured:
    """COCO 5K by the right answers of ECCV Caption: R@1, R-Precision and mAP@R of the queries that have any."""
    return by_answers(scores, gallery, right_answers("eccv"), "eccv", precision=True)


def by_answers(
    scores: Scores,
    gallery: Gallery,
    answers: tuple[Mapping[int, Sequence[int]], Mapping[int, Sequence[int]]],
    name: str,
    *,
    precision: bool = False,
) -> Measured:
    """COCO 5K by lists of right answers: of each picture's id, of each caption's id; as `right_answers` gives them."""
    scores, gallery = published_five_thousand(scores, gallery, name)
    assert gallery.caption_ids is not None
    rows = {number: i for i, number in enumerate(numbers(gallery.images))}
    columns = {number: i for i, number in enumerate(gallery.caption_ids.tolist())}
    asked = {}
    for way, right, queries, items in zip(QUERY_DIRECTIONS, answers, (rows, columns), (columns, rows)):
        known = {queries[query]: [items[item] for item in right[query] if item in items] for query in right}
        ranks = right_ranks(scores, known, images_ask=way == "image_query")
        counts = [len(right[query]) for query in right]
        groups = (gallery.images if way == "image_query" else gallery.captions)[list(known)]
        more = {"R-Precision": r_precision(ranks, counts), "mAP@R": average_precision_at_r(ranks, counts)}
        asked[way] = QueryRanks(np.array([own[0] for own in ranks]), groups, more if precision else {})
    return _block(asked, gallery), asked


# name -> how it is measured, and what a block says of it
PROTOCOLS: dict[str, tuple[Callable[[Scores, Gallery], Measured], str]] = {
    "whole": (whole, "whole split as gallery, any item of its group"),
    "flickr-1k": (flickr_1k, "1,000 pictures, 5,000 captions"),
    "coco-1k": (coco_1k, "mean of the five published folds of 1,000 pictures and 5,000 captions"),
    "coco-1k-listed": (coco_1k_listed, "mean of five folds in the order of the files, not the published ones"),
    "coco-5k": (coco_5k, "5,000 pictures, their first five captions"),
    "cuhk": (cuhk, "captions look for every picture of their identity"),
    "cxc": (cxc, "5,000 pictures, 25,000 captions, right as Crisscrossed Captions has it"),
    "eccv": (eccv, "5,000 pictures, 25,000 captions, right as ECCV Caption has it"),
}
# Of a protocol by which not both queries count: nobody publishes the image query of person search.
COUNTED = {"cuhk": ("text_query",)}
# What published figures on a data set are measured by, and on how many pictures; 0 for any number.
USUAL = {
    "flickr8k": ("flickr-1k", 1000),
    "flickr30k": ("flickr-1k", 1000),
    "coco": ("coco-5k", 5000),
    "cuhk-pedes": ("cuhk", 0),
    "icfg-pedes": ("cuhk", 0),
    "rstpreid": ("cuhk", 0),
}


def _five_each(scores: Scores, gallery: Gallery, pictures: int, name: str) -> tuple[Scores, Gallery]:
    return part(scores, gallery, np.arange(pictures), first_five(gallery, pictures, name))


def _figures(asked: QueryRanks) -> dict[str, float]:
    return {**recalls(asked.ranks), **{name: float(100 * values.mean()) for name, values in asked.others.items()}}


def _block(asked: Mapping[str, QueryRanks], gallery: Gallery) -> Block:
    table = {way: _figures(asked[way]) for way in QUERY_DIRECTIONS}
    sizes = {"gallery_images": len(gallery.images), "gallery_captions": len(gallery.captions)}
    return {**sizes, **table, "rsum": rsum(table)}


def _folds(scores: Scores, gallery: Gallery) -> Measured:
    """Five folds of a fifth of the pictures and captions each, in their order."""
    size, width = len(gallery.images) // 5, len(gallery.captions) // 5
    rows, columns = np.arange(size), np.arange(width)
    folds = [whole(*part(scores, gallery, rows + i * size, columns + i * width)) for i in range(5)]
    blocks = [block for block, _ in folds]
    table = {
        way: {key: float(np.mean([b[way][key] for b in blocks])) for key in blocks[0][way]} for way in QUERY_DIRECTIONS
    }
    asked = {}
    for way in QUERY_DIRECTIONS:
        ranks, groups = ([getattr(fold[way], side) for _, fold in folds] for side in ("ranks", "groups"))
        asked[way] = QueryRanks(np.concatenate(ranks), np.concatenate(groups))
    return {**blocks[0], "folds": 5, **table, "rsum": rsum(table)}, asked


def _intervals(asked: Mapping[str, QueryRanks]) -> Block:
    """Of each recall and other figure, and of rsum: [lower, upper] in percent. Both ways draw the same groups."""
    names, numbers = np.unique(np.concatenate([asked[way].groups for way in QUERY_DIRECTIONS]), return_inverse=True)
    clusters = dict(zip(QUERY_DIRECTIONS, np.split(numbers, [len(asked["image_query"].groups)])))
    drawn, found = {}, {}
    for way in QUERY_DIRECTIONS:
        values = per_query(asked[way])
        of_queries = np.column_stack(list(values.values()))
        drawn[way] = 100 * resampled_means(of_queries, clusters[way], len(names), resamples=RESAMPLES)
        found[way] = {name: bounds.tolist() for name, bounds in zip(values, interval_95(drawn[way]))}
    rsums = sum(drawn[way][:, :3].sum(axis=1) for way in QUERY_DIRECTIONS)
    return {**found, "rsum": interval_95(rsums).tolist(), "resamples": RESAMPLES, "seed": SEED, "groups": len(names)}


def per_query(asked: QueryRanks) -> dict[str, NDArray[Any]]:
    """The figures of each query, in [0, 1]: found at 1, 5, 10, and the others."""
    return {**{f"R@{k}": asked.ranks <= k for k in (1, 5, 10)}, **asked.others}
