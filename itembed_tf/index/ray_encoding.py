"""Reading and encoding images on a Ray cluster: the same functions as in one process, in workers of Ray Data.

The driver lists the sources and writes the index, which stays on its disk. A worker needs the image files at the same
paths; it gets the image encoder from the driver. https://docs.ray.io/en/latest/data/transforming-data.html
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from itembed_tf.extras import require
from itembed_tf.index.encoders import image_encoder_folder, stored_image_encoder
from itembed_tf.index.entry_reading import ReadEntry, batches, read_entry
from itembed_tf.index.image_encoder import ImageEncoder
from itembed_tf.index.sources import Entry
from itembed_tf.quiet import silent_stderr

FEATURE = "itembed index --engine ray"
BLOCKS = 1000  # of batches at most, into which the work is divided


class RayWorker:
    """An actor of Ray: reads and encodes batches of entries.

    Args:
        files: a list of one reference to the content of the files of an image encoder's folder in an index, by relative
            path. A worker of the same machine does not copy it.
        contract: of the encoders.
        max_pixels: of an image.
    """

    def __init__(self, files: list[Any], contract: str, max_pixels: int) -> None:
        import ray

        with tempfile.TemporaryDirectory() as index:
            for name, content in ray.get(files[0]).items():
                path = image_encoder_folder(index, contract) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._encoder = ImageEncoder(index, contract, max_pixels)
        self._max_pixels = max_pixels

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        entries: list[Entry] = pickle.loads(row["entries"])  # from our own driver
        reads = [read_entry(each, is_known=lambda content: False, max_pixels=self._max_pixels) for each in entries]
        images = [i for i, read in enumerate(reads) if read.data]
        for i, embedded in zip(images, self._encoder.embed([reads[i].data for i in images])):
            reads[i] = replace(reads[i], data=b"", embedded=embedded)
        return {"reads": pickle.dumps(reads)}


def ray_read_ahead(
    entries: Iterable[Entry], index: Path, contract: str, *, workers: int, max_pixels: int
) -> Iterator[list[ReadEntry]]:
    """Batches of entries that were read and encoded, in order.

    The cluster is that of the environment variable ``RAY_ADDRESS``, or a local one.

    Args:
        entries: of a source.
        index: folder, which has the image encoder.
        contract: of the image encoder.
        workers: processes that encode, at most, each on a core.
        max_pixels: of an image.

    Raises:
        MissingExtra: Ray is not installed.
    """
    rows = [{"entries": pickle.dumps(batch)} for batch in batches(entries)]
    if not rows:
        return
    ray = _cluster(workers)
    folder = stored_image_encoder(index, contract).parent
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sent = [ray.put(files)]
    done = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS)).map(
        RayWorker, fn_constructor_args=(sent, contract, max_pixels), concurrency=(1, workers), num_cpus=1
    )
    for row in done.iter_rows():
        yield pickle.loads(row["reads"])


def _cluster(workers: int) -> Any:
    """Ray, connected to a cluster, quiet, and with results in order."""
    require(FEATURE)
    import logging

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of arguments of actors that we keep

    import ray
    import ray.data

    if not ray.is_initialized():
        # A cluster of this machine must have a core for each worker, or Ray waits for one.
        cores = None if os.environ.get("RAY_ADDRESS") else max(workers, os.cpu_count() or 1)
        with silent_stderr():
            ray.init(num_cpus=cores, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
