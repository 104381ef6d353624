"""FAISS IVF-SQ8 over the rows of a segment: k-means lists, one byte per dimension, searched memory-mapped.

Johnson, Douze and Jégou, Billion-scale similarity search with GPUs, arXiv 1702.08734. Its scores only choose
candidates, which are scored again from the float16 vectors. The number of lists that a query visits (nprobe) is the
lowest that found `RECALL` of the ten best rows of sample queries, measured when the segment is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.engines.parts import Part
from itembed_tf.index.engines.scan import ranked, scan
from itembed_tf.index.rows import Rows

FILE = "ivf.faiss"
RECALL = 0.965  # at 10, on the sample; 0.95 on other queries of the same kind
MEASURED = 10
TRAINED = 40  # rows for each list, for k-means
CHUNK = 20_000
STEPS = (
    1,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
    20,
    24,
    28,
    32,
    40,
    48,
    56,
    64,
    80,
    96,
    112,
    128,
    160,
    192,
    256,
    384,
    512,
    1024,
    4096,
)
MARGIN = 10  # candidates beyond k
SAMPLE = 200  # queries of each kind
UNMEASURED = 3  # lists of a text query for one of an image query, where no text query is at hand


@dataclass(frozen=True)
class Ivf:
    """An IVF index in a file, see `Approximate`.

    Attributes:
        index: of FAISS.
        nprobe: lists to visit, by kind of query: "text", "image" and "plain".
        lists: how many there are.
    """

    index: Any
    nprobe: Mapping[str, int]
    lists: int

    def search(
        self, queries: NDArray[np.float32], k: int, admitted: NDArray[np.bool_] | None, left: int
    ) -> NDArray[np.int64]:
        faiss = _faiss()
        choice = {}
        if admitted is not None:
            bits = np.packbits(admitted, bitorder="little")
            choice = {"sel": faiss.IDSelectorBitmap(bits)}  # which reads `bits`, not a copy
        wanted = min(k + MARGIN, self.index.ntotal)
        found = np.empty((len(queries), wanted), np.int64)
        kinds = query_kinds(queries)
        for kind in np.unique(kinds):
            # Where few rows are admitted, the best of them are spread over more lists; k of them need as many as hold
            # twice k.
            lists = max(self.nprobe[kind] * self.index.ntotal / left, 2 * wanted / left * self.lists)
            settings = faiss.SearchParametersIVF(nprobe=min(self.lists, int(np.ceil(lists))), **choice)
            found[kinds == kind] = self.index.search(queries[kinds == kind], wanted, params=settings)[1]
        return found


def query_kinds(queries: NDArray[np.float32]) -> NDArray[np.str_]:
    """The kind of each query by its last two dimensions: "text", "image" or "plain"."""
    return np.where(queries[:, -2] != 0, "text", np.where(queries[:, -1] != 0, "image", "plain"))


def write_ivf(rows: Rows, folder: Path, samples: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Train, fill and write an index over rows, and measure the nprobe that it needs.

    Args:
        rows: of a segment.
        folder: to write `FILE` to.
        samples: vectors of queries, [m, D], by kind, "text" and "image". Where a kind has none, rows of the segment are
            the image queries, and a text query visits `UNMEASURED` times as many lists.

    Returns:
        Settings for the segment's stamp.
    """
    faiss = _faiss()
    random = np.random.default_rng(0)
    count, lists = len(rows), lists_for(len(rows))
    width = rows.vectors.shape[1] + 2
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(width), width, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = 10
    index.cp.min_points_per_centroid = 1
    index.train(_matrix(rows, np.sort(random.permutation(count)[: TRAINED * lists])))
    for start in range(0, count, CHUNK):
        index.add(_matrix(rows, np.arange(start, min(start + CHUNK, count))))
    measured = {kind: _needed_lists(index, rows, kind, samples.get(kind)) for kind in ("text", "image")}
    nprobe = {kind: found[0] for kind, found in measured.items()}
    nprobe["plain"] = max(nprobe.values())
    faiss.write_index(index, str(folder / FILE))
    return {"lists": lists, "nprobe": nprobe, "recall": {kind: found[1] for kind, found in measured.items()}}


def read_ivf(folder: Path, settings: Mapping[str, Any]) -> Ivf:
    """The index of a segment, its lists memory-mapped."""
    faiss = _faiss()
    return Ivf(faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP), settings["nprobe"], settings["lists"])


def lists_for(count: int) -> int:
    """The number of lists: the power of two next to twice the square root of the rows."""
    return int(2 ** round(np.log2(2 * max(1, count) ** 0.5)))


def _needed_lists(index: Any, rows: Rows, kind: str, sample: NDArray[np.floating] | None) -> tuple[int, float | None]:
    """The nprobe for a kind of query, and the recall measured with it; None for the recall if no query is at hand."""
    lists, random = index.nlist, np.random.default_rng(1)
    own = np.full(SAMPLE, -1)  # position of a query among the rows
    if sample is None or not len(sample):
        own = random.permutation(len(rows))[:SAMPLE]
        sample = rows.vectors[own]
        if kind == "text":
            return min(lists, UNMEASURED * _needed_lists(index, rows, "image", None)[0]), None
    vectors = sample[random.permutation(len(sample))[:SAMPLE]] if own[0] < 0 else sample
    queries = np.zeros((len(vectors), index.d), np.float32)
    queries[:, :-2] = vectors
    queries[:, -2 if kind == "text" else -1] = 1
    part = [Part(rows)]
    best, _ = ranked(part, scan(part, queries, MEASURED + 1), queries, MEASURED + 1)
    nearest = [
        set(row[row != rows.items[position]][:MEASURED]) if position >= 0 else set(row[:MEASURED])
        for row, position in zip(best, own)
    ]
    for nprobe in (*(step for step in STEPS if step < lists), lists):
        found = Ivf(index, {kind: nprobe}, lists).search(queries, MEASURED, None, len(rows))
        hits = [len(wanted & set(rows.items[positions[positions >= 0]])) for wanted, positions in zip(nearest, found)]
        recall = sum(hits) / max(1, sum(map(len, nearest)))
        if recall >= RECALL:
            break
    return nprobe, round(recall, 4)


def _faiss() -> Any:
    """The module, imported where it is needed: it is optional, and its types are incomplete."""
    import faiss

    return faiss


def _matrix(rows: Rows, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows [vector, -text_bias, -image_bias] as `itembed_tf.index.engines.interface` describes."""
    return np.concatenate([rows.vectors[positions].astype(np.float32), -rows.biases[positions]], axis=1)
