"""Benchmark: one call of the SavedModel `search` against encoding and the library's exact search, and the ids of both.

python -m benchmarks.served_search [EXPORTS] [--items 8000] [--rounds 200] [--quick]

The index has the vectors of made-up sentences with noise. In process, and through the local server's REST API, the two
ways alternate, one call at a time; a ratio is that of their medians. Needs no dataset.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks.runner import print_versions, verdict
from benchmarks.served import local_server, toy_export
from itembed_tf.export_layout import DEFAULT_SIGNATURE, ENCODERS
from itembed_tf.index import NewItem, QueryVector, writing
from itembed_tf.index.engines import View, open_engine
from itembed_tf.index.generations import start_generation
from itembed_tf.index.items import add_source, put_items

BAR = 1.3  # of the time of encoding and searching
K = 10
ROUNDING = 1e-5  # of two scores: items that are closer may change places
NOISE = 0.8  # length of the noise that is added to a vector of length 1
QUERIES = [
    f"{who} {does} {where}"
    for who in ("a black dog", "two children", "the man", "a woman with a red hat", "a brown horse")
    for does in ("runs", "plays with a ball", "jumps", "is sitting", "climbs")
    for where in ("in the snow", "on the beach", "at night", "near a car")
]


def write_index(folder: Path, exports: Path, items: int) -> None:
    """An index of vectors near those of `QUERIES`."""
    import itembed_tf
    from itembed_tf.index.encoders import pack_encoders

    random = np.random.default_rng(0)
    base = itembed_tf.load(exports).embed_texts(QUERIES)[random.integers(len(QUERIES), size=items)]
    noise = random.normal(size=base.shape)
    vectors = base + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    biases = random.uniform(0, 0.1, items)
    with writing(folder, create=True) as connection:
        generation = start_generation(connection, pack_encoders(exports))
        source = add_source(connection, "folder", "/made-up")
        for start in range(0, items, 1000):
            numbers = range(start, min(start + 1000, items))
            new = [_item(i, vectors[i], float(biases[i])) for i in numbers]
            put_items(connection, new, source=source, generation=generation.number, dimensions=vectors.shape[1])


def _item(number: int, vector: NDArray[np.float32], bias: float) -> NewItem:
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return NewItem(f"/made-up/{number}", "image", content, "1", f"{number}", "", vector, text_bias=bias)


def alternate(ways: Sequence[Callable[[str], Any]], rounds: int) -> list[float]:
    """Median seconds of a call of each way."""
    times: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way(QUERIES[0])
    for i in range(rounds):
        for way, own in zip(ways, times):
            started = time.perf_counter()
            way(QUERIES[i % len(QUERIES)])
            own.append(time.perf_counter() - started)
    return [statistics.median(own) for own in times]


def measure(models: Path, index: Path, rounds: int) -> tuple[float, float, int]:
    """Ratio in process, ratio by REST, and the number of queries whose ids differ."""
    import tensorflow as tf

    view = open_engine(index, "exact").refresh()
    text = tf.saved_model.load(str(next((models / ENCODERS[1]).iterdir()))).signatures[DEFAULT_SIGNATURE]
    search = tf.saved_model.load(str(models / "search" / "1")).signatures[DEFAULT_SIGNATURE]

    def library(query: str) -> NDArray[np.int64]:
        return nearest(view, text(text=tf.constant([query]))["embedding"].numpy()[0])

    def model(query: str) -> NDArray[np.int64]:
        return search(text=tf.constant([query]))["ids"].numpy()[0]

    def differs(query: str, ids: NDArray[np.int64]) -> bool:
        row = QueryVector(text(text=tf.constant([query]))["embedding"].numpy()[0], "text").row(corrected=True)
        _, best = view.search(row, K)
        _, own = view.search(row, K, np.sort(ids))  # the library's scores of these items
        return not np.allclose(own, best, rtol=0, atol=ROUNDING)

    different = sum(differs(query, model(query)) for query in QUERIES)
    one, other = alternate([library, model], rounds)
    print(f"in process: encode and search {1e3 * one:.2f} ms, one call {1e3 * other:.2f} ms")
    with local_server(models) as server:
        address = urlsplit(server.rest)
        with closing(http.client.HTTPConnection(address.hostname or "", address.port or 0)) as connection:

            def predict(name: str, query: str) -> Any:
                body = json.dumps({"instances": [query]})
                connection.request("POST", f"/v1/models/{name}:predict", body)
                return json.loads(connection.getresponse().read())["predictions"][0]

            def served_library(query: str) -> NDArray[np.int64]:
                return nearest(view, np.array(predict("text_encoder", query)["embedding"], np.float32))

            def served_model(query: str) -> NDArray[np.int64]:
                return np.array(predict("search", query)["ids"])

            different += sum(differs(query, served_model(query)) for query in QUERIES)
            third, fourth = alternate([served_library, served_model], rounds)
    print(f"by REST: encode and search {1e3 * third:.2f} ms, one call {1e3 * fourth:.2f} ms")
    return other / one, fourth / third, different


def nearest(view: View, vector: NDArray[np.float32]) -> NDArray[np.int64]:
    return view.search(QueryVector(vector, "text").row(corrected=True), K)[0][0]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.served_search", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("exports", nargs="?", default="runs/flickr8k-seed0/encoders", help="folder of an export")
    parser.add_argument("--items", type=int, default=8000, help="of the index (%(default)s)")
    parser.add_argument("--rounds", type=int, default=200, help="calls of each way (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="toy encoders, 700 items: tests that the benchmark runs")
    args = parser.parse_args(argv)
    print_versions()
    from itembed_tf.index.search_model import write_search_model

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        exports = toy_export(folder / "toy") if args.quick else Path(args.exports)
        write_index(folder / "an.index", exports, 700 if args.quick else args.items)
        for name in ENCODERS:
            shutil.copytree(exports / name, folder / "models" / name)
        write_search_model(folder / "an.index", exports, folder / "models", k=K)
        rounds = 5 if args.quick else args.rounds
        process, rest, different = measure(folder / "models", folder / "an.index", rounds)
    figure = f"{process:.2f} x in process, {rest:.2f} x by REST, {different} of {2 * len(QUERIES)} queries differ"
    ok = different == 0 and (args.quick or max(process, rest) <= BAR)
    return verdict("served_search", figure, f"{BAR} x, the same ids", ok)


if __name__ == "__main__":
    raise SystemExit(main())
