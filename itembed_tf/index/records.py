"""Records of an index: what goes in, what a query asks, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["image", "text"]
QueryBy = Literal["both", "vector", "text"]
Sort = Literal["relevance", "date"]


@dataclass(frozen=True)
class NewItem:
    """An item to add, or to put in the place of the one at the same place.

    Attributes:
        place: the absolute path of a file, or location and row, such as ``/data/captions.csv#12``; unique.
        kind: "image" or "text".
        content: SHA-256 (hex) of the image file or the sentence.
        stamp: of the file when it was read: its size and time; it decides whether the file is read again.
        name, folder: of the file, for full-text search and filters; the folder is relative to the source.
        vector: float32 [D], unit length.
        captions: texts to search in beside the vector; for a sentence, the sentence itself.
        date: ISO 8601, of the photograph (EXIF) or of the file; None if unknown.
        width, height: pixels of the image; None for a sentence.
        size: bytes of the image file; None for a sentence.
        fields: the user's columns: text, number, bool or None by name.
        thumbnail: a small WebP or JPEG; None for a sentence.
        text_bias, image_bias: hubness correction for a text query and for an image query.
    """

    place: str
    kind: Kind
    content: str
    stamp: str
    name: str
    folder: str
    vector: NDArray[np.float32]
    captions: tuple[str, ...] = ()
    date: str | None = None
    width: int | None = None
    height: int | None = None
    size: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: bytes | None = None
    text_bias: float = 0.0
    image_bias: float = 0.0


@dataclass(frozen=True)
class Item:
    """An item as the index has it; attributes as `NewItem`."""

    id: int
    place: str
    kind: Kind
    content: str
    name: str
    folder: str
    captions: tuple[str, ...]
    date: str | None
    width: int | None
    height: int | None
    size: int | None
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Generation:
    """A set of vectors under one contract hash; see `itembed_tf.index.schema`.

    `base` is the contract hash of the encoders before their text encoder was taught names, "" where it was not. The
    image encoders of the two are the same.
    """

    number: int
    contract: str
    dimensions: int
    state: str
    base: str = ""

    @property
    def image_contract(self) -> str:
        """The contract hash under which the index has the image encoder."""
        return self.base or self.contract


@dataclass(frozen=True)
class Query:
    """A search.

    Attributes:
        text: sentence to search by; "" for none.
        image: content of an image file to search by.
        like: id of an item to search by.
        minus: sentence whose vector is subtracted.
        where: SQL expression over the fields, such as ``year >= 2020 and folder like 'holidays/%'``.
        by: "vector", "text" (captions, file names and folders), or "both", fused.
        sort: "relevance" or "date", newest first.
        limit, offset: hits to return, and to skip.
        corrected: whether the hubness correction is applied.
    """

    text: str = ""
    image: bytes | None = None
    like: int | None = None
    minus: str = ""
    where: str = ""
    by: QueryBy = "both"
    sort: Sort = "relevance"
    limit: int = 20
    offset: int = 0
    corrected: bool = True


@dataclass(frozen=True)
class Hit:
    """One result.

    Attributes:
        item: what was found.
        score: cosine similarity to the query; None for a hit that only the full text found.
        band: "strong", "likely" or "weak"; "" without a calibration.
        found_by: "vector", "caption", "name" and "folder", those that apply.
        copies: places of the same content, this one included.
    """

    item: Item
    score: float | None
    band: str
    found_by: tuple[str, ...]
    copies: int = 1


@dataclass(frozen=True)
class Answer:
    """The results of a query.

    Attributes:
        hits: best first.
        matching: items that the filter admits.
        unknown_words: words of the query that training never saw, as the user wrote them.
        notes: what the user should know, one sentence each: no known word, far from everything in training.
        generation: number of the generation that was searched.
    """

    hits: tuple[Hit, ...]
    matching: int
    unknown_words: tuple[str, ...]
    notes: tuple[str, ...]
    generation: int


@dataclass(frozen=True)
class Facets:
    """How many items have which value; values and counts.

    Attributes:
        items: all that were counted.
        folders: the largest first.
        years: four digits, the newest first.
        kinds: the most frequent first.
    """

    items: int
    folders: tuple[tuple[str, int], ...]
    years: tuple[tuple[str, int], ...]
    kinds: tuple[tuple[str, int], ...]


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        items: in the index now.
        added, changed, described, moved, removed, unchanged: items. Described ones have other captions or fields.
        encoded: contents that the encoders saw; the other new items are copies of these.
        left_out: files that were unreadable or deleted before, and are the same since.
        unreadable: place -> what is wrong with it, as a phrase after "is".
        problems: of the sources, one line each.
        kept: sources of which more is gone than is removed without being asked for: a line each.
    """

    items: int = 0
    added: int = 0
    changed: int = 0
    described: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    encoded: int = 0
    left_out: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
