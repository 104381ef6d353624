"""FAISS's own indexes over the rows of `benchmarks.index_data`, for `benchmarks.index`: IVF with SQ8, IVF with 4-bit
product codes refined by float16, and HNSW with SQ8, each searched by FAISS alone, without our code.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.index_data import Vectors

THREADS = 2
LISTS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
IVF_STEPS = tuple((lists,) for lists in LISTS)
REFINED_STEPS = tuple((lists, factor) for factor in (160, 80, 40, 20) for lists in (32, 48, 64, 96, 128, 192, 256))
HNSW_STEPS = tuple((ef,) for ef in (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048))
K = 10


@dataclass
class Peer:
    """An index of FAISS.

    Attributes:
        name: for the table.
        index: of FAISS, in memory.
        megabytes: of its file, which is what it takes of memory.
        seconds: of training and adding.
        steps: values of its search parameters: nprobe, nprobe and candidates for each result, or efSearch.
    """

    name: str
    index: Any
    megabytes: float
    seconds: float
    steps: tuple[tuple[int, ...], ...]

    def search(self, queries: NDArray[np.float32], step: tuple[int, ...]) -> NDArray[np.int64]:
        faiss: Any = import_module("faiss")
        if "HNSW" in self.name:
            self.index.hnsw.efSearch = step[0]
        elif "Refine" in self.name:
            lists = faiss.IVFSearchParameters(nprobe=step[0])
            settings = faiss.IndexRefineSearchParameters(k_factor=step[1], base_index_params=lists)
            return self.index.search(queries, K, params=settings)[1]
        else:
            self.index.nprobe = step[0]
        return self.index.search(queries, K)[1]


def rows_of(data: Vectors, start: int, stop: int) -> NDArray[np.float32]:
    """Rows [vector, -text_bias, -image_bias]."""
    return np.concatenate([data.vectors[start:stop].astype(np.float32), -data.biases[start:stop]], axis=1)


def peers(data: Vectors, work: Path, names: Sequence[str]) -> list[Peer]:
    """Build the indexes, or take them from `work`."""
    return [_peer(name, data, work) for name in names]


def _peer(name: str, data: Vectors, work: Path) -> Peer:
    faiss: Any = import_module("faiss")
    faiss.omp_set_num_threads(THREADS)
    count, width = len(data.vectors), data.vectors.shape[1] + 2
    file = work / f"{name.replace(',', '-')}-{count}.faiss"
    if not file.exists():
        started = time.monotonic()
        print(f"  {name}: building", flush=True)
        index: Any = faiss.index_factory(width, name, faiss.METRIC_INNER_PRODUCT)
        if "HNSW" in name:
            index.hnsw.efConstruction = 40
        else:
            ivf = index.base_index if "Refine" in name else index
            faiss.downcast_index(ivf).cp.niter = 10
        random = np.random.default_rng(2)
        sample = np.sort(random.permutation(count)[: max(10_000, 40 * _lists(name))])
        index.train(np.concatenate([data.vectors[sample].astype(np.float32), -data.biases[sample]], axis=1))
        for start in range(0, count, 20_000):
            index.add(rows_of(data, start, min(start + 20_000, count)))
        seconds = time.monotonic() - started
        faiss.write_index(index, str(file))
        file.with_suffix(".json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    seconds = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["seconds"]
    steps = HNSW_STEPS if "HNSW" in name else REFINED_STEPS if "Refine" in name else IVF_STEPS
    return Peer(name, faiss.read_index(str(file)), file.stat().st_size / 1e6, seconds, steps)


def _lists(name: str) -> int:
    return int(name.split(",")[0].removeprefix("IVF")) if name.startswith("IVF") else 0


def least_effort(
    peer: Peer, queries: NDArray[np.float32], recall: Callable[[NDArray[np.int64]], float], bar: float
) -> tuple[tuple[int, ...], float]:
    """The fastest step whose recall is at least `bar`, or that of the highest recall; and its recall.

    Steps with one parameter get slower, so the first one is taken; others are timed.
    """
    good: list[tuple[float, tuple[int, ...], float]] = []
    best = (0.0, peer.steps[0])
    done: set[tuple[int, ...]] = set()  # other parameters than the first, for which it need not be higher
    for step in peer.steps:
        if step[1:] in done:
            continue
        started = time.perf_counter()
        reached = recall(peer.search(queries, step))
        best = max(best, (reached, step))
        if reached >= bar:
            good.append((time.perf_counter() - started, step, reached))
            done.add(step[1:])
    if not good:
        return best[1], best[0]
    _, step, reached = min(good)
    return step, reached
