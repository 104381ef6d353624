"""Parity of all backends: embeddings of dev by the live model, SavedModel, local server and LiteRT.

    ITEMBED_FLICKR8K=... python -m benchmarks.parity [RUN] [--quick]

RUN is a finished run directory, by default runs/flickr8k. Its encoders are exported into a temporary folder. The image
files and captions of dev are embedded by the SavedModels in process, by the local server over gRPC and REST, and, after
`data.images` and `text.vocabulary` have prepared them, by LiteRT at each precision. Differences are the maximum of any
component of an embedding, against the live model; the recalls of a backend use its own images and captions. The
verdict is over the float32 backends. Dev must have at least 1,000 captions and 200 images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.export_recall import data_override, embed, small_run
from benchmarks.runner import RECALL_HEAD, RECALLS, print_versions, recalls, verdict
from benchmarks.served import local_server

BAR, CAPTIONS, IMAGES = 1e-4, 1000, 200
LIVE, PRECISIONS, QUICK = "live model", ("float32", "float16", "dynamic", "int8"), ("float32", "int8")


class Backend(NamedTuple):
    """Embeddings of dev by one backend, and their retrieval table."""

    name: str
    images: np.ndarray
    captions: np.ndarray
    table: dict[str, Any]


def backends(run: Path, folder: Path, precisions: Sequence[str] = PRECISIONS) -> Iterator[Backend]:
    """The live model first, then every other backend as soon as it is measured."""
    from itembed_tf.data.batches import flatten
    from itembed_tf.data.readers import read_image
    from itembed_tf.evaluation.embeddings import Embeddings
    from itembed_tf.evaluation.evaluate import evaluate_embeddings
    from itembed_tf.exporting import write_saved_models
    from itembed_tf.exporting.litert_export import read_dev, write_measured

    pair, dev, train = read_dev(run, data_override(run))

    def backend(name: str, images: np.ndarray, captions: np.ndarray) -> Backend:
        table = evaluate_embeddings(dev.config, "dev", dev.groups, Embeddings(images, captions))
        return Backend(name, images, captions, table.to_json())

    yield Backend(LIVE, dev.live.images, dev.live.captions, dev.table.to_json())
    exports = write_saved_models(folder / "exports", pair).folder
    items = flatten(dev.groups)
    images = [read_image(image) for image in items.images]
    yield backend("SavedModel", *by_saved_model(exports, images, items.captions))
    with local_server(exports) as server:
        yield backend("gRPC", *by_client(server.grpc, images, items.captions))
        yield backend("REST", *by_client(server.rest, images, items.captions))
    export = write_measured(folder / "edge", pair, dev, train, text=precisions, image=precisions, accept_loss=True)
    embeddings = {(file.encoder, file.precision): file.embeddings for file in export.files}
    for precision in precisions:
        yield backend(
            f"LiteRT {precision}", embeddings["image_encoder", precision], embeddings["text_encoder", precision]
        )


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
        line = f"{backend.name:16}"
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
        f"{'':16}{'captions':>9}{'':9}{'images':>9}\n{'':16}{'worst':>9}{'mean':>9}{'worst':>9}{'mean':>9}{RECALL_HEAD}"
    )


def _is_float32(backend: Backend) -> bool:
    return not backend.name.startswith("LiteRT") or backend.name.endswith("float32")


def _apart(live: dict[str, Any], other: dict[str, Any]) -> float:
    """Percentage points, maximum over the six recalls."""
    return max(abs(live[query][k] - other[query][k]) for query in ("image_query", "text_query") for k in RECALLS)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="a finished run directory")
    parser.add_argument(
        "--quick", action="store_true", help="use a small run trained in seconds, or RUN with a dev split of any size"
    )
    args = parser.parse_args(argv)
    from itembed_tf.training.run_directory import RunError

    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        try:
            own = args.quick and args.run == parser.get_default("run")
            run = small_run(Path(folder)) if own else Path(args.run)
            measured = backends(run, Path(folder), QUICK if args.quick else PRECISIONS)
            return judge(measured, *((1, 1) if args.quick else ()))
        except (RunError, OSError) as error:
            raise SystemExit(f"nothing to measure: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
