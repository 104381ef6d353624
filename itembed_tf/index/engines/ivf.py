"""FAISS over the rows of a segment: an inverted file of 4-bit product codes, whose candidates are scored exactly.

Two dimensions become one code of 4 bits, so a row takes a quarter of a byte per dimension, and a processor scans such
codes with the tables in its registers (IVF-PQ fast scan; André, Kermarrec and Le Scouarnec, Quicker ADC, arXiv
1812.09162). The codes only choose candidates, which are scored again from the float16 vectors. How many lists a query
visits, and how many candidates it has, are the cheapest that found `RECALL` of the ten best rows of sample queries,
measured when the segment is written. In `benchmarks.index` this is several times as fast, at the same recall, as codes
of a byte per dimension (IVF-SQ8) or as HNSW.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.engines.parts import Part
from itembed_tf.index.engines.scan import ranked, scan
from itembed_tf.index.rows import Rows

FILE = "ivf.faiss"
RECALL = 0.975  # at 10, on the sample; with 0.965, other queries by text had 0.935
MEASURED = 10
TRAINED = 40  # rows for each list, for k-means
CHUNK = 20_000
LISTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 2048)  # to visit
CANDIDATES = (50, 100, 200, 400, 800, 1600)
SCAN_NS, SCORE_NS = 6, 1000  # of one code, and of one candidate: measured
SAMPLE = 200  # queries of each kind
UNMEASURED = 3  # lists of a text query for one of an image query, where one of the kinds is missing


@dataclass(frozen=True)
class Effort:
    """What a query costs: lists to visit, and candidates to score for the ten best rows."""

    lists: int
    candidates: int

    def candidates_for(self, k: int) -> int:
        return max(2 * k, round(self.candidates * max(1.0, k / MEASURED) ** 0.5))


@dataclass(frozen=True)
class Ivf:
    """An inverted file, see `Approximate`.

    Attributes:
        index: of FAISS.
        efforts: by kind of query: "text", "image" and "plain".
    """

    index: Any
    efforts: Mapping[str, Effort]

    def search(
        self, queries: NDArray[np.float32], k: int, admitted: NDArray[np.bool_] | None, left: int
    ) -> NDArray[np.int64]:
        faiss = _faiss()
        choice = {}
        if admitted is not None:
            bits = np.packbits(admitted, bitorder="little")
            choice = {"sel": faiss.IDSelectorBitmap(bits)}  # which reads `bits`, not a copy
        kinds = query_kinds(queries)
        wanted = {kind: min(self.efforts[kind].candidates_for(k), self.index.ntotal) for kind in np.unique(kinds)}
        found = np.full((len(queries), max(wanted.values(), default=0)), -1, np.int64)
        for kind, count in wanted.items():
            # Where few rows are admitted, the best of them are spread over more lists; the candidates need as many
            # lists as hold twice their number.
            share = self.index.ntotal / left
            lists = max(self.efforts[kind].lists * share, 2 * count / left * self.index.nlist)
            settings = faiss.SearchParametersIVF(nprobe=min(self.index.nlist, int(np.ceil(lists))), **choice)
            mine = np.flatnonzero(kinds == kind)
            asked = _padded(queries[mine], self.index.d)
            found[mine, :count] = self.index.search(asked, count, params=settings)[1]
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
    codes = (rows.vectors.shape[1] + 3) // 2
    index = faiss.index_factory(2 * codes, f"IVF{lists},PQ{codes}x4fsr", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    index.train(_matrix(rows, np.sort(random.permutation(count)[: max(20_000, TRAINED * lists)]), index.d))
    for start in range(0, count, CHUNK):
        index.add(_matrix(rows, np.arange(start, min(start + CHUNK, count)), index.d))
    faiss.write_index(index, str(folder / FILE))
    text, text_recall = _needed(index, rows, "text", samples.get("text"))
    image, image_recall = _needed(index, rows, "image", samples.get("image"))
    # Without text queries there is a guess. Images of the sample that are in the index too are easier than others.
    if text_recall is None:
        text = Effort(min(lists, UNMEASURED * image.lists), 2 * image.candidates)
    image = Effort(max(image.lists, text.lists // UNMEASURED), max(image.candidates, text.candidates // 4))
    return {
        "lists": lists,
        "efforts": {kind: asdict(effort) for kind, effort in (("text", text), ("image", image))},
        "recall": {"text": text_recall, "image": image_recall},
    }


def read_ivf(folder: Path, settings: Mapping[str, Any]) -> Ivf:
    """The index of a segment, memory-mapped."""
    faiss = _faiss()
    efforts = {kind: Effort(**values) for kind, values in settings["efforts"].items()}
    efforts["plain"] = Effort(
        max(effort.lists for effort in efforts.values()), max(effort.candidates for effort in efforts.values())
    )
    return Ivf(faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC), efforts)


def lists_for(count: int) -> int:
    """The number of lists: the power of two next to the square root of the rows."""
    return int(2 ** round(np.log2(max(1, count) ** 0.5)))


def _needed(index: Any, rows: Rows, kind: str, sample: NDArray[np.floating] | None) -> tuple[Effort, float | None]:
    """The cheapest effort that reaches `RECALL`, and its recall; None for the recall of text queries without a sample.

    Without a sample, rows are the image queries, and are left out of what they find.
    """
    random = np.random.default_rng(1)
    own = np.full(SAMPLE, -1)  # position of a query among the rows
    if sample is None or not len(sample):
        if kind == "text":
            return Effort(index.nlist, CANDIDATES[-1]), None
        own = random.permutation(len(rows))[:SAMPLE]
        vectors = rows.vectors[own]
    else:
        vectors = sample[random.permutation(len(sample))[:SAMPLE]]
    queries = np.zeros((len(vectors), rows.vectors.shape[1] + 2), np.float32)
    queries[:, :-2] = vectors
    queries[:, -2 if kind == "text" else -1] = 1
    best = _best(rows, queries, own[: len(queries)])
    most = min(CANDIDATES[-1], len(rows))
    reached: list[tuple[float, Effort, float]] = []
    for lists in (*(step for step in LISTS if step < index.nlist), index.nlist):
        settings = _faiss().SearchParametersIVF(nprobe=lists)
        found = index.search(_padded(queries, index.d), most, params=settings)[1]
        rank = _ranks(found, best)
        for candidates in CANDIDATES:
            recall = float((rank < candidates).mean())
            cost = SCAN_NS * lists * len(rows) / index.nlist + SCORE_NS * candidates
            reached.append((cost if recall >= RECALL else np.inf, Effort(lists, candidates), recall))
        if (rank < CANDIDATES[1]).mean() >= RECALL:
            break  # more lists cost more
    cost, effort, recall = min(reached, key=lambda entry: (entry[0], -entry[2]))
    return effort, round(recall, 4)


def _best(rows: Rows, queries: NDArray[np.float32], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the ten best rows of each query, without its `own`: int64 [n, 10], -2 where there are fewer."""
    part = [Part(Rows(rows.rows, np.arange(len(rows)), rows.vectors, rows.biases))]
    found, _ = ranked(part, scan(part, queries, MEASURED + 1), queries, MEASURED + 1)
    kept = [row[(row != position) & (row >= 0)][:MEASURED] for row, position in zip(found, own)]
    best = np.full((len(queries), MEASURED), -2)
    for row, values in zip(best, kept):
        row[: len(values)] = values
    return best


def _ranks(found: NDArray[np.int64], best: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rank of each of the `best` among what was found, float64 [n, 10]; infinite where it was not."""
    same = best[:, :, None] == found[:, None, :]
    return np.where(same.any(axis=2), same.argmax(axis=2), np.inf)


def _faiss() -> Any:
    """The module, imported where it is needed: it is optional, and its types are incomplete."""
    import faiss

    return faiss


def _matrix(rows: Rows, positions: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    """Rows [vector, -text_bias, -image_bias] as `itembed_tf.index.engines.interface` describes."""
    both = np.concatenate([rows.vectors[positions].astype(np.float32), -rows.biases[positions]], axis=1)
    return _padded(both, width)


def _padded(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """With a column of zeros where the codes, which take two dimensions each, need one."""
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1]))) if vectors.shape[1] < width else vectors
