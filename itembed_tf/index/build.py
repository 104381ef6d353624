"""Building an index, and bringing it up to date."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from itembed_tf.config import Config
from itembed_tf.errors import UserError
from itembed_tf.index.calibrating import take_calibration
from itembed_tf.index.database import is_index, reading, writing
from itembed_tf.index.encoders import export_contract, find_exports, pack_encoders, store_image_encoder
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, check_contract, current_generation, start_generation
from itembed_tf.index.records import BuildReport, Generation
from itembed_tf.index.sources import Listing, Source, list_source
from itembed_tf.index.teaching_data import store_data
from itembed_tf.index.update import ReadMany, Update
from itembed_tf.index.vectors import EmbedImages, Vectors
from itembed_tf.locks import Locked
from itembed_tf.progress import running_clock


def build_index(
    index: str | Path,
    sources: Sequence[Source] = (),
    *,
    encoders: str | Path | None = None,
    prune: bool = False,
    retry: bool = False,
    ray_workers: int = 0,
    max_pixels: int = Config.max_pixels,
    embed_images: EmbedImages | None = None,
) -> BuildReport:
    """Add sources to an index, or bring it up to date with them.

    Args:
        index: folder of the index; it is made if there is none.
        sources: `itembed_tf.index.sources.find_source` gives one for a path; none: those that the index has.
        encoders: run directory or folder of exports; None: those that the index has.
        prune: also remove what is gone where that is more than a tenth of a source.
        retry: also read the files that were unreadable, or were deleted from the index.
        ray_workers: processes on a Ray cluster that read and encode; 0: this process does.
        max_pixels: larger images, by their header, count as unreadable.
        embed_images: in place of the image encoder: contents [n] -> a vector or what is wrong for each; for tests.

    Raises:
        SearchIndexError: other encoders than those of the index, or no encoders or sources for a new one.
        Locked: another process writes to the index.
    """
    index = Path(index)
    stored = _stored(index)
    listed = [(source, _list(source, is_new=source not in stored)) for source in sources or stored]
    exports = None if encoders is None else find_exports(encoders)
    packed = pack_encoders(exports) if exports and not _has_encoders(index) else None  # before anything is written
    with writing(index, create=exports is not None) as connection:
        generation = _generation(connection, index, exports, packed)
        vectors = Vectors(index, connection, generation, embed_images=embed_images, max_pixels=max_pixels)
        with closing(reading(index)) as second:
            update = Update(
                connection,
                second,
                generation,
                vectors,
                max_pixels,
                _on_ray(index, generation, ray_workers, max_pixels) if ray_workers else None,
            )
            report = update.run(listed, prune=prune, retry=retry)
    derive(index)
    return report


def _on_ray(index: Path, generation: Generation, workers: int, max_pixels: int) -> ReadMany:
    from itembed_tf.index.ray_encoding import ray_read_ahead

    return partial(
        ray_read_ahead, index=index, contract=generation.image_contract, workers=workers, max_pixels=max_pixels
    )


def derive(index: str | Path) -> None:
    """Bring the files of the engines up to date; a search finds the same without them, but a large index slower."""
    from itembed_tf.index.engines.sealing import update_derived

    with suppress(Locked, OSError), running_clock("writing the files of the search engine"):
        update_derived(index)


def _stored(index: Path) -> list[Source]:
    if not is_index(index):
        return []
    with closing(reading(index)) as connection:
        return stored_sources(connection)


def _list(source: Source, *, is_new: bool) -> Listing:
    """The entries of a source. A new one must have some; one that the index has already must not stop the others."""
    try:
        listing = list_source(source)
    except (UserError, ValueError, OSError) as error:
        if is_new:
            raise
        return Listing(problems=[f"{source.location}: {error}"])
    if is_new and not len(listing.entries):
        raise SearchIndexError(f"{listing.problems[0]}; give a folder, pattern or file that has some")
    return listing


def _has_encoders(index: Path) -> bool:
    with suppress(SearchIndexError), closing(reading(index)) as connection:
        return current_generation(connection) is not None
    return False


def _generation(
    connection: sqlite3.Connection, index: Path, exports: Path | None, packed: StoredEncoders | None
) -> Generation:
    """The generation that is added to: of the index, or a first one."""
    generation = current_generation(connection)
    if exports is None:
        if generation is None:
            raise SearchIndexError(f"{index} has no encoders yet; `itembed index RUN INPUT --out {index}` adds them")
        return generation
    if generation is not None:
        check_contract(generation, export_contract(exports))
    store_image_encoder(exports, index)
    store_data(exports, index)
    if generation is None:
        return start_generation(connection, packed or pack_encoders(exports))
    take_calibration(connection, generation, exports)
    return generation


def stored_sources(connection: sqlite3.Connection) -> list[Source]:
    """The sources of an index, in the order in which they were added."""
    rows = connection.execute("SELECT kind, location, settings FROM sources ORDER BY id")
    return [Source(kind, location, json.loads(settings)) for kind, location, settings in rows]
