"""One index as the page uses it: its searcher, and what the page shows of single items."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.demo.lessons import Lessons
from itembed_tf.demo.query_images import KEY_DIGITS
from itembed_tf.index import Item, Query
from itembed_tf.index.database import reading
from itembed_tf.index.generations import current_generation
from itembed_tf.index.items import read_items, read_vectors
from itembed_tf.index.lessons import read_lessons
from itembed_tf.index.searcher import Searcher, open_searcher
from itembed_tf.index.teaching_data import missing_data
from itembed_tf.teaching import Lesson

ATTRIBUTION = "attribution"  # in the table settings: the notice that the images' licence requires


@dataclass(frozen=True)
class Summary:
    """The description of an index that the page shows.

    Attributes:
        name: of its folder.
        images, texts: number of items of each kind.
        generation, contract: of the vectors that are searched.
        bands: by direction, such as "text_to_image": what each band meant when it was measured.
        attribution: the notice that the images' licence requires; "" if there is none.
    """

    name: str
    images: int
    texts: int
    generation: int
    contract: str
    bands: Mapping[str, Mapping[str, str]]
    attribution: str


class SearchedIndex:
    """An open index. Items are named by key: the first digits of their content's SHA-256, the same in every index.

    Safe to use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        """Open the index in `folder`.

        Raises:
            SearchIndexError: it is no index, or not one that this version reads.
        """
        self.folder = folder
        self.searcher: Searcher = open_searcher(folder)
        self._connection = reading(folder)
        self._lock = threading.Lock()
        self.lessons = Lessons(folder)

    def close(self) -> None:
        self.lessons.close()
        self.searcher.close()
        with self._lock, closing(self._connection):
            pass

    def summary(self) -> Summary:
        generation = self.searcher.generation
        with self._lock:
            counts = dict(self._connection.execute("SELECT kind, count(*) FROM items GROUP BY kind"))
            row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (ATTRIBUTION,)).fetchone()
        return Summary(
            name=self.folder.resolve().name,
            images=counts.get("image", 0),
            texts=counts.get("text", 0),
            generation=generation.number if generation else 0,
            contract=generation.contract[:KEY_DIGITS] if generation else "",
            bands=self._bands(),
            attribution=row[0] if row else "",
        )

    def warm_up(self) -> None:
        """Load what the first search needs, so that it takes no longer than the next."""
        self.searcher.search(Query(text="a", limit=1))

    def _bands(self) -> dict[str, dict[str, str]]:
        calibration = self.searcher.calibration()
        measured = calibration.bands if calibration else {}
        return {direction: {band.name: band.describe() for band in bands} for direction, bands in measured.items()}

    def splits(self) -> list[tuple[str, int]]:
        """How many items each split of a run's dataset has; empty where the items are of no dataset."""
        datasets = "SELECT 1 FROM sources WHERE kind IN ('run', 'shards')"
        query = "SELECT json_extract(fields, '$.split'), count(*) FROM items GROUP BY 1 ORDER BY 1"
        with self._lock:
            if not self._connection.execute(datasets).fetchone():  # the next one reads every item
                return []
            counts = self._connection.execute(query).fetchall()
        return [(str(split), count) for split, count in counts if split is not None]

    def find(self, key: str) -> list[Item]:
        """All items of one content, by id; none if the index has it not."""
        with self._lock:
            ids = self._connection.execute("SELECT id FROM items WHERE content >= ? AND content < ?", _range(key))
            return read_items(self._connection, sorted(row[0] for row in ids))

    def thumbnail(self, key: str) -> bytes | None:
        with self._lock:
            query = "SELECT image FROM thumbnails WHERE content >= ? AND content < ?"
            row = self._connection.execute(query, _range(key)).fetchone()
        return row[0] if row else None

    def vector(self, item: Item) -> NDArray[np.float32]:
        """The vector of an item in the generation that is searched, float32 [D], unit length."""
        generation = self.searcher.generation
        assert generation is not None, "an index with items has a generation"
        with self._lock:
            return read_vectors(self._connection, [item.id], generation.number)[0]

    def taught(self) -> tuple[list[Lesson], str]:
        """The lessons of the encoders, and why the index cannot learn another one ("" if it can)."""
        with self._lock:
            generation = current_generation(self._connection)
            if generation is None:
                return [], f"{self.folder.name} is empty"
            return read_lessons(self._connection, generation), missing_data(self.folder, generation)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, float32 [n, D], unit length; 0 for a text without a known word."""
        return self.searcher.embed_texts(texts).vectors


def _range(key: str) -> tuple[str, str]:
    """The lowest content of a key, and the lowest one above all of it ("g" follows the hexadecimal digits)."""
    return key, f"{key}g"
