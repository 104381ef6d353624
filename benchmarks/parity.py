"""Parity of all backends: embeddings of dev by the live model, SavedModel, local server, ONNX files and LiteRT.

    ITEMBED_FLICKR8K=... python -m benchmarks.parity [RUN] [--backends LIST] [--quick]

RUN is a finished run directory, by default runs/flickr8k. Its encoders are exported into a temporary folder. The image
files and captions of dev are embedded by the SavedModels in process, by the local server over gRPC and REST, and, after
`data.images` and `text.vocabulary` have prepared them, by the ONNX files in ONNX Runtime and OpenVINO, and by LiteRT at
each precision. Differences are the maximum of any component of an embedding, against the live model; the recalls of a
backend use its own images and captions. The verdict is over the float32 backends. Dev must have at least 1,000 captions
and 200 images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.export_recall import BATCH, data_override, embed, small_run
from benchmarks.runner import RECALL_HEAD, RECALLS, print_versions, recalls, verdict
from benchmarks.served import local_server

BAR, CAPTIONS, IMAGES = 1e-4, 1000, 200
ALL = ("saved_model", "server", "onnx", "litert")
BELOW_FLOAT32 = ("float16", "bfloat16", "dynamic", "int8")
LIVE, PRECISIONS, QUICK = "live model", ("float32", "float16", "dynamic", "int8"), ("float32", "int8")


Encode = Callable[[np.ndarray], np.ndarray]  # a batch of inputs -> embeddings


class Backend(NamedTuple):
    """Embeddings of dev by one backend, and their retrieval table."""

    name: str
    images: np.ndarray
    captions: np.ndarray
    table: dict[str, Any]


def backends(
    run: Path, folder: Path, precisions: Sequence[str] = PRECISIONS, chosen: Sequence[str] = ALL
) -> Iterator[Backend]:
    """The live model first, then every other backend of the chosen kinds as soon as it is measured."""
    from itembed_tf.data.batches import flatten
    from itembed_tf.data.readers import read_image
    from itembed_tf.evaluation.embeddings import Embeddings
    from itembed_tf.evaluation.evaluate import evaluate_embeddings
    from itembed_tf.exporting import write_onnx, write_saved_models
    from itembed_tf.exporting.litert_export import read_dev, write_measured
    from itembed_tf.exporting.litert_targets import image_target, text_target

    pair, dev, train = read_dev(run, data_override(run))

    def backend(name: str, images: np.ndarray, captions: np.ndarray) -> Backend:
        table = evaluate_embeddings(dev.config, "dev", dev.groups, Embeddings(images, captions))
        return Backend(name, images, captions, table.to_json())

    yield Backend(LIVE, dev.live.images, dev.live.captions, dev.table.to_json())
    items = flatten(dev.groups)
    if {"saved_model", "server"} & set(chosen):
        exports = write_saved_models(folder / "exports", pair).folder
        images = [read_image(image) for image in items.images]
    if "saved_model" in chosen:
        yield backend("SavedModel", *by_saved_model(exports, images, items.captions))
    if "server" in chosen:
        with local_server(exports) as server:
            yield backend("gRPC", *by_client(server.grpc, images, items.captions))
            yield backend("REST", *by_client(server.rest, images, items.captions))
    if "onnx" in chosen:
        write_onnx(folder / "onnx", pair)
        ids, pixels = (target(pair, dev, train).inputs for target in (text_target, image_target))
        for name, load in ONNX_ENGINES.items():
            try:
                text, image = (load(str(folder / "onnx" / f"{side}_encoder.onnx")) for side in ("text", "image"))
            except RuntimeError as error:  # OpenVINO lacks an operation
                print(f"{name}: cannot load these encoders, and is left out: {str(error).splitlines()[-1]}", flush=True)
                continue
            captions = in_batches(f"{name}: captions", ids(), text)
            yield backend(name, in_batches(f"{name}: images", pixels(), image), captions)
    if "litert" in chosen:
        export = write_measured(folder / "edge", pair, dev, train, text=precisions, image=precisions, accept_loss=True)
        found = {(file.encoder, file.precision): file.embeddings for file in export.files}
        for precision in precisions:
            yield backend(f"LiteRT {precision}", found["image_encoder", precision], found["text_encoder", precision])


def in_batches(title: str, inputs: Iterable[np.ndarray], encode: Encode) -> np.ndarray:
    """Embed inputs without their batch dimension, BATCH at a time, and print how many a second: float32 [n, D]."""
    rows, spent, waiting = [], 0.0, iter(inputs)
    while batch := list(islice(waiting, BATCH)):
        start = time.perf_counter()
        rows.append(encode(np.stack(batch)))
        spent += time.perf_counter() - start
    embeddings = np.concatenate(rows)
    print(f"{title}, {len(embeddings) / spent:,.0f}/s", flush=True)
    return embeddings


def openvino_encoder(file: str, precision: str) -> Encode:
    """An ONNX file in OpenVINO on the CPU; without the setting, it computes in bfloat16 where the CPU can."""
    import openvino

    model = openvino.compile_model(openvino.Core().read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda batch: np.array(model(batch)[0])


def onnx_runtime_encoder(file: str) -> Encode:
    from itembed_tf.exporting.onnx_convert import onnx_function

    return onnx_function(Path(file).read_bytes())


ONNX_ENGINES: dict[str, Callable[[str], Encode]] = {
    "ONNX Runtime": onnx_runtime_encoder,
    "OpenVINO float32": partial(openvino_encoder, precision="f32"),
    "OpenVINO bfloat16": partial(openvino_encoder, precision="bf16"),
}


def by_saved_model(exports: Path, images: Sequence[bytes], captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    image, text = (
        tf.saved_model.load(str(exports / name / "1")).signatures["serving_default"]
        for name in ("image_encoder", "text_encoder")
    )
    return (
        embed("images", images, lambda batch: image(image_bytes=tf.constant(batch))),
        embed("captions", captions, lambda batch: text(text=tf.constant(batch))),
    )


def by_client(address: str, images: Sequence[bytes], captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    from itembed_tf.client import Client

    with Client(address, timeout=300) as client:
        return client.embed_images(images), client.embed_texts(captions).embedding


def judge(backends: Iterable[Backend], captions: int = CAPTIONS, images: int = IMAGES) -> int:
    """Print a line per backend as it is measured, the live model first, and the verdict; return the exit code."""
    from itembed_tf.exporting.parity import max_differences

    worst = apart = 0.0
    live = None
    for backend in backends:
        if live is None:
            live = backend
            print(_head(live), flush=True)
        line = f"{backend.name:18}"
        for ours, theirs in ((live.captions, backend.captions), (live.images, backend.images)):
            off = max_differences(ours, theirs)
            line += f"{off.max():9.1e}{np.abs(ours - theirs).mean():9.1e}"
            if _is_float32(backend):
                worst = max(worst, float(off.max())) if np.isfinite(off).all() else np.inf
        print(line + recalls(backend.table), flush=True)
        if _is_float32(backend):
            apart = max(apart, _apart(live.table, backend.table))
    assert live is not None
    enough = len(live.captions) >= captions and len(live.images) >= images
    if not enough:
        print(f"dev is too small: at least {captions:,} captions and {images} images are needed")
    ok = worst <= BAR and apart == 0 and enough
    return verdict("parity", f"{worst:.1e}, recall {apart:.2f} points apart", f"{BAR:g}, 0", ok)


def _head(live: Backend) -> str:
    return (
        f"{len(live.captions):,} captions and {len(live.images):,} images of dev; differences from the live model\n"
        f"{'':18}{'captions':>9}{'':9}{'images':>9}\n{'':18}{'worst':>9}{'mean':>9}{'worst':>9}{'mean':>9}{RECALL_HEAD}"
    )


def _is_float32(backend: Backend) -> bool:
    return not backend.name.endswith(BELOW_FLOAT32)


def _apart(live: dict[str, Any], other: dict[str, Any]) -> float:
    """Percentage points, maximum over the six recalls."""
    return max(abs(live[query][k] - other[query][k]) for query in ("image_query", "text_query") for k in RECALLS)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="a finished run directory")
    parser.add_argument(
        "--quick", action="store_true", help="use a small run trained in seconds, or RUN with a dev split of any size"
    )
    parser.add_argument(
        "--backends", default=",".join(ALL), help="comma-separated, besides the live model: %(default)s"
    )
    args = parser.parse_args(argv)
    chosen = args.backends.split(",")
    if unknown := set(chosen) - set(ALL):
        parser.error(f"--backends: {', '.join(sorted(unknown))}; allowed values: {', '.join(ALL)}")
    from itembed_tf.training.run_directory import RunError

    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        try:
            own = args.quick and args.run == parser.get_default("run")
            run = small_run(Path(folder)) if own else Path(args.run)
            measured = backends(run, Path(folder), QUICK if args.quick else PRECISIONS, chosen)
            return judge(measured, *((1, 1) if args.quick else ()))
        except (RunError, OSError) as error:
            raise SystemExit(f"nothing to measure: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
