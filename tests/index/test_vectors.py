"""What is known of a content, vector or item, is found without going through the index."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from itembed_tf.index.changes import Changes
from itembed_tf.index.database import reading, writing
from itembed_tf.index.generations import current_generation
from itembed_tf.index.sources import Entry
from itembed_tf.index.vectors import Vectors
from tests.support.small_index import new_item, write_index


def test_the_vector_of_a_content_costs_the_same_in_a_large_index(tmp_path: Path) -> None:
    items = [new_item(f"{n}.jpg", [1, n, 0, 0], text_bias=0.25) for n in range(1500)]
    write_index(tmp_path / "i", items)
    with closing(reading(tmp_path / "i")) as connection:
        generation = current_generation(connection)
        assert generation is not None
        vectors = Vectors(tmp_path / "i", connection, generation, embed_images=None, max_pixels=1)
        steps: list[int] = []
        connection.set_progress_handler(lambda: steps.append(1), 100)  # called every 100 instructions of SQLite
        found = vectors.known([items[7].content, items[9].content, "none"])
    assert len(steps) < 20, "all vectors of the index were looked at"
    assert set(found) == {items[7].content, items[9].content}
    np.testing.assert_allclose(found[items[7].content].vector, items[7].vector, atol=1e-3)
    assert found[items[7].content].text_bias == 0.25 and found[items[7].content].thumbnail == items[7].thumbnail


def test_the_former_place_of_a_content_costs_the_same_in_a_large_index(tmp_path: Path) -> None:
    items = [new_item(f"{n}.jpg", [1, n, 0, 0]) for n in range(1500)]
    write_index(tmp_path / "i", items)
    with writing(tmp_path / "i") as connection:
        changes = Changes(connection, {1: False}, [1])
        steps: list[int] = []
        connection.set_progress_handler(lambda: steps.append(1), 100)
        entry = Entry("/photos/new.jpg", "image", "1 1", "new.jpg")
        assert changes.moved_from(entry, items[7].content) == 8 and changes.moved_from(entry, "none") is None
    assert len(steps) < 20, "all items of the source were looked at"
