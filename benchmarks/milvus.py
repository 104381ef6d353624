"""Benchmark: the ids that a Milvus server finds, against those of the exact engine; added and deleted items.

    python -m benchmarks.milvus [RUN] [--items 100000] [--work FOLDER] [--quick]

RUN is a finished run on Flickr8k; rows and queries are those of `benchmarks.index`. The server comes from the package
`milvus` and is stopped at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.index import recall_of, small, timed
from benchmarks.index_data import Vectors, tiled
from benchmarks.index_items import new_items, write_index
from benchmarks.milvus_server import milvus_server
from benchmarks.runner import print_versions, verdict
from itembed_tf.index.database import writing
from itembed_tf.index.engines import Engine, View, open_engine
from itembed_tf.index.items import delete_items, put_items

BAR = 0.99
K = 10
QUERIES = 300  # of each kind
KINDS = ("image", "text")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.milvus", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/flickr8k"), help="run directory (%(default)s)")
    parser.add_argument("--items", type=int, default=100_000, help="items of the index (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-index"), help="kept files (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="2,000 made-up rows: tests that the benchmark runs")
    args = parser.parse_args(argv)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) if args.quick else args.work
        work.mkdir(parents=True, exist_ok=True)
        if args.quick:
            small(work)
        data = tiled(args.run, work, 2000 if args.quick else args.items)
        index = Path(folder) / "photos.index"
        seconds = write_index(index, data)
        print(f"{len(data.vectors):,} items in {seconds:.0f} s into SQLite", flush=True)
        with milvus_server() as address:
            recall, wrong = measure(index, address, data)
        shutil.rmtree(index)
    figure = f"recall@{K} {recall:.4f}, {wrong} wrong after changes"
    return verdict("milvus", figure, f"{BAR}, 0 wrong", recall >= BAR and not wrong)


def measure(index: Path, address: str, data: Vectors) -> tuple[float, int]:
    """The lowest recall of a kind of query, and wrong results after items were added and deleted."""
    with closing(open_engine(index, address)) as milvus, closing(open_engine(index, "exact")) as exact:
        started = time.monotonic()
        view = milvus.refresh()
        seconds = time.monotonic() - started
        print(f"copied to Milvus in {seconds:.0f} s ({view.count / seconds:,.0f} a second)", flush=True)
        recalls = []
        for kind in KINDS:
            recalls.append(compared(view, exact.refresh(), data.queries[kind][:QUERIES], kind))
        filter = np.arange(1, len(data.vectors), 50)
        recalls.append(compared(view, exact.refresh(), data.queries["text"][:100], "text, a filter,", filter))
        return min(recalls), changed(index, milvus, exact, data)


def compared(
    view: View, exact: View, queries: NDArray[np.float32], kind: str, allowed: NDArray[np.int64] | None = None
) -> float:
    """Recall of Milvus; 0 where the score of an item that both found differs."""
    found, scores = view.search(queries, K, allowed)
    right, right_scores = exact.search(queries, K, allowed)
    recall = recall_of(found, right)
    for a, b, s, t in zip(found, right, scores, right_scores):
        known = dict(zip(b.tolist(), t.tolist()))
        if any(known.get(item, score) != score for item, score in zip(a.tolist(), s.tolist())):
            recall = 0.0
    ours, theirs = timed(lambda: view.search(queries, K, allowed)), timed(lambda: exact.search(queries, K, allowed))
    print(
        f"{kind} queries: recall@{K} {recall:.4f}, same ids in {np.mean((found == right).all(axis=1)):.1%}; "
        f"{len(queries) / ours:,.0f} a second (exact engine {len(queries) / theirs:,.0f})",
        flush=True,
    )
    return recall


def changed(index: Path, milvus: Engine, exact: Engine, data: Vectors) -> int:
    """Add 1,000 items and delete 1,000: how many are not found, and how many are found that should not be."""
    count = min(1000, len(data.vectors) // 10)
    rows = np.random.default_rng(3).permutation(len(data.vectors))[:count]
    moved = np.roll(np.arange(data.vectors.shape[1]), 1)  # vectors that no other item has
    items = [replace(item, vector=item.vector[moved]) for item in new_items(data, rows, "new/")]
    own = np.stack([np.append(item.vector, (0, 0)) for item in items[:200]]).astype(np.float32)
    with writing(index) as connection:
        ids = put_items(connection, items, source=1, generation=1, dimensions=data.vectors.shape[1])
        started = time.monotonic()
        wrong = int((milvus.refresh().search(own, 1)[0][:, 0] != ids[:200]).sum())
        print(f"{count} added, and 200 of them found, in {time.monotonic() - started:.1f} s: {wrong} wrong", flush=True)
        best = milvus.refresh().search(data.queries["text"][:200], 5)[0]
        gone = np.unique(best)
        delete_items(connection, gone.tolist())
        started = time.monotonic()
        after = milvus.refresh().search(data.queries["text"][:200], K)[0]
        still = int(np.isin(after, gone).sum())
        print(
            f"{len(gone)} deleted, all of them hits, in {time.monotonic() - started:.1f} s: {still} found", flush=True
        )
        recall = recall_of(after, exact.refresh().search(data.queries["text"][:200], K)[0])
        print(f"afterwards: recall@{K} {recall:.4f}", flush=True)
    return wrong + still + (recall < BAR)


if __name__ == "__main__":
    raise SystemExit(main())
