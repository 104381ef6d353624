"""Example queries of the report: sampled and hardest queries with their first results, correct ones marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from itembed_tf.retrieval import best_ranks, top_k

SEED = 0  # of the sampled queries: two runs on one dataset show the same ones
SAMPLED, HARDEST = 12, 6  # queries shown per direction
IMAGES, CAPTIONS = 10, 5  # results shown per query


@dataclass(frozen=True)
class Result:
    """One result of a query: position in the gallery, rank from 1, similarity, and whether it is correct."""

    item: int
    rank: int
    score: float
    correct: bool


@dataclass(frozen=True)
class ExampleQuery:
    """A query with its first results.

    Attributes:
        query: position of the query.
        rank: best rank of a correct item.
        results: the first results in order.
        missed: the best correct item, where the first results hold none.
    """

    query: int
    rank: int
    results: list[Result]
    missed: Result | None

    def shown(self) -> Iterator[int]:
        """Positions of all items shown."""
        yield from (result.item for result in self.results)
        if self.missed:
            yield self.missed.item


@dataclass(frozen=True)
class Section:
    """Example queries of one kind: "sampled" or "hardest", with "text" or "image" queries."""

    kind: str
    query: str
    queries: int  # that have a correct item
    gallery: int
    examples: list[ExampleQuery]


@dataclass(frozen=True)
class Vectors:
    """Embeddings float32 [n, D] and groups int [n] of images or captions."""

    embeddings: np.ndarray
    groups: np.ndarray


def sections(images: Vectors, captions: Vectors) -> list[Section]:
    """Sampled queries of both directions, then the hardest ones."""
    result = []
    for kind, queries, gallery, count in (("text", captions, images, IMAGES), ("image", images, captions, CAPTIONS)):
        answerable, ranks = query_ranks(queries, gallery)
        for name, chosen in (
            ("sampled", sample(answerable, queries.groups, SAMPLED, SEED)),
            ("hardest", hardest(answerable, ranks, queries.groups, HARDEST)),
        ):
            shown = example_queries(chosen, queries, gallery, dict(zip(answerable.tolist(), ranks.tolist())), count)
            result.append(Section(name, kind, len(answerable), len(gallery.groups), shown))
    return sorted(result, key=lambda section: section.kind != "sampled")


def query_ranks(queries: Vectors, gallery: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """Queries that have a correct item in the gallery, and the best rank of each (1 = first); both int64 [n]."""
    answerable = np.flatnonzero(np.isin(queries.groups, gallery.groups))
    if not len(answerable):
        return answerable, np.zeros(0, np.int64)
    vectors, groups = queries.embeddings[answerable], queries.groups[answerable]
    return answerable, best_ranks(vectors, gallery.embeddings, groups, gallery.groups)


def sample(answerable: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Random queries, one per group, in the order of the split."""
    order = np.random.default_rng(seed).permutation(answerable)
    return np.sort(_one_per_group(order, groups, count))


def hardest(answerable: np.ndarray, ranks: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Queries with the highest ranks, one per group, hardest first; none whose first result is correct."""
    order = np.argsort(-ranks, kind="stable")
    return _one_per_group(answerable[order[ranks[order] > 1]], groups, count)


def _one_per_group(order: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    first = np.sort(np.unique(groups[order], return_index=True)[1])
    return order[first[:count]]


def example_queries(
    chosen: np.ndarray, queries: Vectors, gallery: Vectors, rank_of: dict[int, int], count: int
) -> list[ExampleQuery]:
    """The first `count` results of each chosen query; `rank_of`: query -> best rank of a correct item."""
    if not len(chosen):
        return []
    indices, scores = top_k(queries.embeddings[chosen], gallery.embeddings, min(count, len(gallery.groups)))
    examples = []
    for row, query in enumerate(chosen.tolist()):
        group = queries.groups[query]
        results = [
            _result(item, rank, score, gallery.groups[item] == group)
            for rank, (item, score) in enumerate(zip(indices[row], scores[row], strict=True), start=1)
        ]
        missed = None
        if not any(result.correct for result in results):
            own = np.flatnonzero(gallery.groups == group)
            own_scores = gallery.embeddings[own] @ queries.embeddings[query]
            best = int(own_scores.argmax())
            missed = _result(own[best], rank_of[query], own_scores[best], True)
        examples.append(ExampleQuery(query, rank_of[query], results, missed))
    return examples


def _result(item: Any, rank: int, score: Any, correct: Any) -> Result:
    return Result(int(item), rank, float(score), bool(correct))
