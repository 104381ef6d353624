"""A small index without encoders: items with given vectors, for tests that need no TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from itembed_tf.index.database import writing
from itembed_tf.index.generations import StoredEncoders, current_generation, start_generation
from itembed_tf.index.items import add_source, put_items
from itembed_tf.index.records import NewItem

CONTRACT = "c0" * 32


def new_item(name: str, vector: ArrayLike, **fields: Any) -> NewItem:
    """An image of the file ``/photos/NAME``; `fields` are attributes of `NewItem`."""
    vector = np.asarray(vector, np.float32)
    values = {
        "place": f"/photos/{name}",
        "kind": "image",
        "content": hashlib.sha256(name.encode()).hexdigest(),
        "stamp": "1 1",
        "name": name.rpartition("/")[2],
        "folder": f"/photos/{name}".rpartition("/")[0],
        "vector": vector / np.linalg.norm(vector),
        "thumbnail": b"thumbnail of " + name.encode(),
    }
    return NewItem(**{**values, **fields})


def write_index(folder: Path, items: Sequence[NewItem], dimensions: int = 4) -> list[int]:
    """Add items to the index `folder`, which is made if there is none; returns their ids."""
    with writing(folder, create=True) as connection:
        generation = current_generation(connection) or start_generation(
            connection, StoredEncoders(CONTRACT, dimensions, b"", "{}")
        )
        source = add_source(connection, "folder", "/photos")
        return put_items(connection, items, source=source, generation=generation.number, dimensions=dimensions)
