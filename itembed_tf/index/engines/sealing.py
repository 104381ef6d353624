"""Derived files of an index brought up to date, with FAISS where it is worth while and installed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import reading
from itembed_tf.index.derived import update_segments
from itembed_tf.index.engines.choice import wants_approximate
from itembed_tf.index.engines.ivf import write_ivf
from itembed_tf.index.generations import current_generation, read_encoders
from itembed_tf.index.records import Generation
from itembed_tf.index.rows import Rows
from itembed_tf.retrieval.calibration import parse_calibration


def update_derived(index: str | Path, generation: Generation | None = None, *, everything: bool = False) -> list[Path]:
    """Bring the derived files of an index up to date. Searches go on meanwhile, and find the same without them.

    It takes about a minute for a million items that are new, less than a second for a few thousand.

    Args:
        index: folder.
        generation: the current one by default; one that is being built can be made ready before it becomes current.
        everything: seal the new rows even if they are few.

    Returns, raises: as `update_segments`.
    """
    index = Path(index)

    def approximate(rows: Rows, folder: Path) -> dict[str, Any]:
        return write_ivf(rows, folder, _samples(index, generation))

    return update_segments(index, generation, wants=wants_approximate, approximate=approximate, everything=everything)


def _samples(index: Path, generation: Generation | None) -> Mapping[str, NDArray[np.floating]]:
    """Queries of training, by kind, where the encoders of the generation have a calibration."""
    with closing(reading(index)) as connection:
        generation = generation or current_generation(connection)
        if generation is None:
            return {}
        stored = read_encoders(connection, generation.contract)
    if stored.calibration is None:
        return {}
    calibration = parse_calibration(stored.calibration, stored.contract)
    return {"text": calibration.captions.vectors, "image": calibration.images.vectors}
