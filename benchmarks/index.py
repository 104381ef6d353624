"""Benchmark: queries a second of an index of 1,000,000 items, against FAISS's own indexes; adding and deleting 10,000.

    python -m benchmarks.index [RUN] [--items 1000000] [--work FOLDER] [--quick]

RUN is a finished run on Flickr8k. Its embeddings, tiled with noise, are the rows (`benchmarks.index_data`); its dev
images and dev captions are the queries, measured apart. Both sides use two threads and take turns. A peer is searched
with the least effort that finds 95 % of the ten best rows, which is chosen on these very queries; our own effort was
chosen on other ones when the index was written. A peer may take as much memory as all files that ours maps.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.index_data import Vectors, tiled
from benchmarks.index_items import new_items, write_index
from benchmarks.index_peers import THREADS, K, Peer, least_effort, peers, rows_of
from benchmarks.runner import print_versions, verdict
from itembed_tf.index.database import writing
from itembed_tf.index.engines import View, open_engine, update_derived
from itembed_tf.index.generations import current_generation
from itembed_tf.index.items import delete_items, put_items

RECALL, RATIO, SECONDS = 0.95, 1.5, 5.0
KINDS = ("image", "text")
PEERS = ("IVF2048,SQ8", "IVF1024,PQ257x4fsr,Refine(SQfp16)", "HNSW16,SQ8")
SMALL_PEERS = ("IVF64,SQ8", "IVF64,PQ257x4fsr,Refine(SQfp16)", "HNSW16,SQ8")  # for --quick
CHANGED = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/flickr8k"), help="run directory (%(default)s)")
    parser.add_argument("--items", type=int, default=1_000_000, help="items of the index (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-index"), help="kept files (%(default)s)")
    parser.add_argument("--queries", type=int, default=500, help="queries of each kind (%(default)s)")
    parser.add_argument("--peers", nargs="+", default=PEERS, help="FAISS indexes, as its factory names them")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the measurements alternate (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="3,000 made-up rows: tests that the benchmark runs")
    args = parser.parse_args(argv)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) if args.quick else args.work
        if args.quick:
            small(work)
        count, rounds, names = (3000, 1, SMALL_PEERS) if args.quick else (args.items, args.rounds, args.peers)
        figures = measure(args.run, work, count, rounds, names, args.queries)
    recall = min(figures["recall", kind] for kind in KINDS)
    ratio = max(figures["ratio", kind] for kind in KINDS)
    figure = (
        f"{ratio:.2f} x (image {figures['ratio', 'image']:.2f}, text {figures['ratio', 'text']:.2f}), recall@{K} "
        f"{recall:.3f}, add {figures['add']:.1f} s, delete {figures['delete']:.1f} s, {figures['wrong']:.0f} wrong"
    )
    slowest = max(figures["add"], figures["delete"])
    ok = recall >= RECALL and ratio <= RATIO and slowest < SECONDS and not figures["wrong"]
    return verdict("index", figure, f"{RATIO} x, {RECALL}, {SECONDS:.0f} s, 0 wrong", ok)


def measure(run: Path, work: Path, count: int, rounds: int, names: Sequence[str], asked: int) -> dict[Any, float]:
    """Build what is missing in `work`, and print and return the figures."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    work.mkdir(parents=True, exist_ok=True)
    data = tiled(run, work, count)
    data = replace(data, queries={kind: some[:: max(1, len(some) // asked)] for kind, some in data.queries.items()})
    index = work / f"{count}.index"
    if not index.exists():
        partial = work / f"partial-{count}.index"
        shutil.rmtree(partial, ignore_errors=True)
        seconds = write_index(partial, data)
        print(f"ours: {seconds:.0f} s for {count:,} items into SQLite ({count / seconds:,.0f} a second)", flush=True)
        partial.rename(index)
    started = time.monotonic()
    if update_derived(index, everything=True):
        print(f"ours: {time.monotonic() - started:.0f} s for the derived files", flush=True)
    found = peers(data, work, names)
    with closing(open_engine(index)) as engine:
        started = time.monotonic()
        view = engine.refresh()
        print(f"ours: {engine.name}, opened in {time.monotonic() - started:.2f} s", flush=True)
        figures = compare(view, index, found, data, rounds)
    figures |= changes(index, work, data)
    return figures


def nearest(data: Vectors, queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """The K best rows of each query by a plain computation: int64 [n, K]."""
    scores, rows = [], []
    for start in range(0, len(data.vectors), 20_000):
        block = queries @ rows_of(data, start, min(start + 20_000, len(data.vectors))).T
        best = np.argpartition(-block, K, axis=1)[:, :K]
        scores.append(np.take_along_axis(block, best, 1))
        rows.append(best + start)
    order = np.argsort(-np.concatenate(scores, axis=1), axis=1)[:, :K]
    return np.take_along_axis(np.concatenate(rows, axis=1), order, 1)


def recall_of(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float(np.mean([len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist())])) / K


def compare(view: View, index: Path, found: list[Peer], data: Vectors, rounds: int) -> dict[Any, float]:
    """Queries a second of ours and of each peer, in turns, by kind of query."""
    mapped = sum(file.stat().st_size for file in (index / "derived").rglob("*") if file.is_file()) / 1e6
    allowed = [peer for peer in found if peer.megabytes <= mapped]
    figures: dict[Any, float] = {}
    for kind in KINDS:
        truth = nearest(data, data.queries[kind])
        recall, rates = rounds_of(view, allowed, data.queries[kind], truth, rounds, kind)
        figures["recall", kind] = recall
        figures["ratio", kind] = max(rates.values()) / rates["ours"]
    database = sum(file.stat().st_size for file in index.glob("index.sqlite*")) / 1e6
    print(f"ours: {resident(index):,.0f} MB of {mapped:,.0f} MB mapped files in memory; SQLite {database:,.0f} MB")
    return figures


def rounds_of(
    view: View, found: list[Peer], queries: NDArray[np.float32], truth: NDArray[np.int64], rounds: int, kind: str
) -> tuple[float, dict[str, float]]:
    """Our recall, and queries a second of ours and of the peers that find enough."""
    recall = recall_of(view.search(queries, K)[0] - 1, truth)
    effort = {peer.name: least_effort(peer, queries, lambda rows: recall_of(rows, truth), RECALL) for peer in found}
    few = queries[: min(200, len(queries))]
    times: dict[str, list[float]] = {name: [] for name in ("ours", "single", *effort)}
    for _ in range(rounds):
        times["ours"].append(timed(lambda: view.search(queries, K)))
        times["single"].append(timed(lambda: [view.search(query[None], K) for query in few]))
        for peer in found:
            times[peer.name].append(timed(partial(peer.search, queries, effort[peer.name][0])))
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    rates = {name: len(queries) / median[name] for name in ("ours", *effort)}
    print(f"{kind} queries, medians of {rounds} rounds:")
    single = 1000 * median["single"] / len(few)
    print(f"  ours: recall@{K} {recall:.3f}, {rates['ours']:,.0f} a second; one at a time {single:.2f} ms each")
    for peer in found:
        step, reached = effort[peer.name]
        given = " and ".join(map(str, step))
        text = f"  FAISS {peer.name}, effort {given}: recall@{K} {reached:.3f}, {rates[peer.name]:,.0f} a second"
        print(f"{text}; {peer.megabytes:,.0f} MB, built in {peer.seconds:,.0f} s", flush=True)
        if reached < RECALL:
            del rates[peer.name]
    return recall, rates


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def resident(index: Path) -> float:
    """Megabytes of the derived files that are in this process's memory; 0 where the system does not say."""
    smaps, kilobytes, ours = Path("/proc/self/smaps"), 0, False
    for line in smaps.read_text(encoding="utf-8", errors="replace").splitlines() if smaps.exists() else ():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = str((index / "derived").resolve()) in line
        elif ours and line.startswith("Rss:"):
            kilobytes += int(line.split()[1])
    return kilobytes / 1000


def changes(index: Path, work: Path, data: Vectors) -> dict[Any, float]:
    """Seconds to add and to delete many items, until a search of another process sees it; wrong results after it."""
    count = min(CHANGED, len(data.vectors) // 10)
    copy = work / "changed.index"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(index, copy)
    random = np.random.default_rng(3)
    rows = random.permutation(len(data.vectors))[:count]
    gone = np.sort(random.permutation(len(data.vectors))[:count] + 1)
    queries = np.concatenate([data.queries[kind][:100] for kind in KINDS])
    wrong = 0
    with (
        closing(open_engine(copy)) as engine,
        closing(open_engine(copy, "exact")) as exact,
        writing(copy) as connection,
    ):
        engine.refresh()
        segments = sorted(folder.name for folder in (copy / "derived" / "1").iterdir())
        generation = current_generation(connection)
        assert generation is not None
        moved = np.roll(np.arange(data.vectors.shape[1]), 1)  # vectors that no other item has
        items = [replace(item, vector=item.vector[moved]) for item in new_items(data, rows, "new/")]
        started = time.monotonic()
        ids = put_items(connection, items, source=1, generation=1, dimensions=generation.dimensions)
        written = time.monotonic() - started
        view = engine.refresh()
        add = time.monotonic() - started
        own = np.stack([np.append(item.vector, (0, 0)) for item in items[:200]]).astype(np.float32)
        wrong += int((view.search(own, 1)[0][:, 0] != ids[:200]).sum())
        print(f"added {count:,}: {written:.2f} s written, {add - written:.2f} s until they are searched", flush=True)
        started = time.monotonic()
        delete_items(connection, gone.tolist())
        written = time.monotonic() - started
        view = engine.refresh()
        delete = time.monotonic() - started
        print(f"deleted {count:,}: {written:.2f} s written, {delete - written:.2f} s until they are gone", flush=True)
        best, scores = view.search(queries, K)
        right, right_scores = exact.refresh().search(queries, K)
        wrong += int(np.isin(best, gone).sum())
        after = recall_of(best, right)
        wrong += int((np.sort(scores, axis=1) > np.sort(right_scores, axis=1)).sum())
        seconds = timed(lambda: view.search(queries, K))
        print(f"afterwards: recall@{K} {after:.3f}, {len(queries) / seconds:,.0f} queries a second", flush=True)
        wrong += segments != sorted(folder.name for folder in (copy / "derived" / "1").iterdir())
    shutil.rmtree(copy)
    return {"add": add, "delete": delete, "wrong": float(wrong + (after < RECALL))}


def small(work: Path) -> None:
    """Made-up embeddings in `work`, and an approximate index from 1,000 items on."""
    from itembed_tf.index.engines import choice, local

    choice.APPROXIMATE_FROM, choice.APPROXIMATE_SEGMENT, local.SCANNED = 1000, 500, 100
    random = np.random.default_rng(0)
    centres = random.standard_normal((20, 600))
    made = {}
    for name, count in (("train_images", 700), ("train_captions", 900), ("dev_images", 100), ("dev_captions", 100)):
        rows = centres[random.integers(0, 20, count)] + random.standard_normal((count, 600))
        made[name] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.savez(work / "flickr8k.npz", allow_pickle=False, **made)


if __name__ == "__main__":
    raise SystemExit(main())
