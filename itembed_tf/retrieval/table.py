"""Retrieval tables as records: recall@K, median and mean rank of both query directions, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUERY_DIRECTIONS = ("image_query", "text_query")  # keys of metrics.json
DIRECTION_NAMES = {"image_query": "image → text", "text_query": "text → image"}
CUTOFFS = (1, 5, 10)  # K of recall@K
RANKS = ("MedR", "MeanR")

Interval = tuple[float, float]


@dataclass(frozen=True)
class QueryFigures:
    """The figures of one query direction.

    Attributes:
        values: "R@1", "R@5", "R@10" and other rates such as "mAP", in percent; "MedR" and "MeanR" are ranks, 1 = first.
        intervals: 95 % confidence interval of each rate; empty where none was computed.
        chance: expected values of the recalls and ranks for a random order of the gallery; empty where unknown.
        correct_answers: mean number of correct items per query; 0 where unknown.
    """

    values: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    correct_answers: float = 0.0

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    @property
    def other_rates(self) -> tuple[str, ...]:
        """Names of the rates other than recall@K: "mAP", "R-Precision", ..."""
        return tuple(name for name in self.values if name not in RANKS and not name.startswith("R@"))


@dataclass(frozen=True)
class RetrievalTable:
    """What a protocol measures on a split: the figures of both query directions, with gallery and intervals.

    The table of dev after an epoch has the figures and their chance level; every other field keeps its default there.

    Attributes:
        image_query, text_query: image → text and text → image.
        protocol: dataset, split, protocol and averaging in words.
        split, dataset: names.
        gallery: checksum of ids and captions; two tables of one gallery have the same.
        name: protocol and gallery size, such as "flickr-1k/1000x5000".
        gallery_images, gallery_captions: size of the gallery, of one fold where there are several.
        folds: number of galleries over which the figures are averaged.
        rsum_interval: 95 % confidence interval of `rsum`.
        bootstrap: "resamples", "seed" and "groups" of the intervals; empty without intervals.
    """

    image_query: QueryFigures
    text_query: QueryFigures
    protocol: str = ""
    split: str = ""
    dataset: str = ""
    gallery: str = ""
    name: str = ""
    gallery_images: int = 0
    gallery_captions: int = 0
    folds: int = 1
    rsum_interval: Interval | None = None
    bootstrap: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, direction: str) -> QueryFigures:
        return {"image_query": self.image_query, "text_query": self.text_query}[direction]

    @property
    def rsum(self) -> float:
        """Sum of the six recalls, 600 at most."""
        return self.recall_sum()

    def recall_sum(self, directions: Sequence[str] = QUERY_DIRECTIONS) -> float:
        """Sum of R@1, R@5 and R@10 over some directions."""
        return sum(self[direction][f"R@{k}"] for direction in directions for k in CUTOFFS)

    def to_json(self) -> dict[str, Any]:
        """The table as metrics.json (schema 1) stores it; fields without a value are left out."""
        about = {key: getattr(self, key) for key in ("protocol", "split", "dataset", "gallery", "name")}
        about |= {key: getattr(self, key) for key in ("gallery_images", "gallery_captions")}
        block: dict[str, Any] = {key: value for key, value in about.items() if value}
        if self.folds > 1:
            block["folds"] = self.folds
        block |= {direction: dict(self[direction].values) for direction in QUERY_DIRECTIONS} | {"rsum": self.rsum}
        if self.rsum_interval:
            bounds = {d: {name: list(pair) for name, pair in self[d].intervals.items()} for d in QUERY_DIRECTIONS}
            block["interval_95"] = {**bounds, "rsum": list(self.rsum_interval), **self.bootstrap}
        if self.image_query.chance:
            block["chance"] = {direction: dict(self[direction].chance) for direction in QUERY_DIRECTIONS}
            block["correct_answers"] = {direction: self[direction].correct_answers for direction in QUERY_DIRECTIONS}
        return block

    @classmethod
    def from_json(cls, block: Mapping[str, Any]) -> RetrievalTable:
        """Read what `to_json` wrote, or a block of an older metrics.json without intervals or chance."""
        bounds = block.get("interval_95", {})
        figures = {
            direction: QueryFigures(
                values=dict(block[direction]),
                intervals={name: (low, high) for name, (low, high) in bounds.get(direction, {}).items()},
                chance=dict(block.get("chance", {}).get(direction, {})),
                correct_answers=block.get("correct_answers", {}).get(direction, 0.0),
            )
            for direction in QUERY_DIRECTIONS
        }
        return cls(
            image_query=figures["image_query"],
            text_query=figures["text_query"],
            **{key: block.get(key, "") for key in ("protocol", "split", "dataset", "gallery", "name")},
            gallery_images=block.get("gallery_images", 0),
            gallery_captions=block.get("gallery_captions", 0),
            folds=block.get("folds", 1),
            rsum_interval=tuple(bounds["rsum"]) if "rsum" in bounds else None,
            bootstrap={key: bounds[key] for key in ("resamples", "seed", "groups") if key in bounds},
        )


def rank_figures(ranks: NDArray[np.int64]) -> dict[str, float]:
    """R@1, R@5, R@10 in percent, MedR and MeanR of the best rank of each query.

    MedR is the smallest K at which strictly more than half of the queries have a correct item among the first K
    (released code). It differs from the median where the two middle ranks differ.
    """
    recalls = {f"R@{k}": float(100 * np.mean(ranks <= k)) for k in CUTOFFS}
    # sorted, the element after the first half is the smallest K at which more than half of the queries succeed
    return {**recalls, "MedR": float(np.sort(ranks)[len(ranks) // 2]), "MeanR": float(ranks.mean())}
