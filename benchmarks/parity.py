"""Do all roads to an embedding give the same one? The live model, SavedModel, local server and LiteRT on all of dev.

    ITEMBED_FLICKR8K=... python -m benchmarks.parity [RUN] [--quick]

RUN is a finished run directory, by default runs/flickr8k. Its encoders are exported into a temporary folder. Files and
captions of dev then go, as they are, through the SavedModels in process, through the local server by gRPC and by REST,
and, prepared by `data.images` and `text.vocabulary`, through LiteRT at each precision. Differences are the largest
of any component of an embedding, against the live model; both recalls of a road use its own pictures and sentences.
Judged are the roads in float32. Dev must have at least 1,000 captions and 200 pictures.
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

BAR, CAPTIONS, PICTURES = 1e-4, 1000, 200
LIVE, PRECISIONS, QUICK = "live model", ("float32", "float16", "dynamic", "int8"), ("float32", "int8")


class Road(NamedTuple):
    """What one way to the encoders gave for all of dev, and its retrieval table."""

    name: str
    images: np.ndarray
    captions: np.ndarray
    table: dict[str, Any]


def roads(run: Path, folder: Path, precisions: Sequence[str] = PRECISIONS) -> Iterator[Road]:
    """The live model first; then every other road, as soon as it is walked."""
    from itembed_tf.data.batches import flatten
    from itembed_tf.data.readers import read_image
    from itembed_tf.evaluation.embeddings import Embeddings
    from itembed_tf.evaluation.evaluate import evaluate_embeddings
    from itembed_tf.exporting import write_saved_models
    from itembed_tf.exporting.litert_export import read_dev, write_measured

    pair, dev, train = read_dev(run, data_override(run))

    def road(name: str, images: np.ndarray, captions: np.ndarray) -> Road:
        table = evaluate_embeddings(dev.config, "dev", dev.groups, Embeddings(images, captions))
        return Road(name, images, captions, table.to_json())

    yield Road(LIVE, dev.live.images, dev.live.captions, dev.table.to_json())
    exports = write_saved_models(folder / "exports", pair).folder
    items = flatten(dev.groups)
    pictures = [read_image(image) for image in items.images]
    yield road("SavedModel", *by_saved_model(exports, pictures, items.captions))
    with local_server(exports) as server:
        yield road("gRPC", *by_client(server.grpc, pictures, items.captions))
        yield road("REST", *by_client(server.rest, pictures, items.captions))
    export = write_measured(folder / "edge", pair, dev, train, text=precisions, image=precisions, accept_loss=True)
    found = {(file.encoder, file.precision): file.embeddings for file in export.files}
    for precision in precisions:
        yield road(f"LiteRT {precision}", found["image_encoder", precision], found["text_encoder", precision])


def by_saved_model(exports: Path, pictures: Sequence[bytes], captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    image, text = (
        tf.saved_model.load(str(exports / name / "1")).signatures["serving_default"]
        for name in ("image_encoder", "text_encoder")
    )
    return (
        embed("pictures", pictures, lambda batch: image(image_bytes=tf.constant(batch))),
        embed("sentences", captions, lambda batch: text(text=tf.constant(batch))),
    )


def by_client(address: str, pictures: Sequence[bytes], captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    from itembed_tf.client import Client

    with Client(address, timeout=300) as client:
        return client.embed_images(pictures), client.embed_texts(captions).embedding


def judge(found: Iterable[Road], captions: int = CAPTIONS, pictures: int = PICTURES) -> int:
    """Print a line for each road as it is walked, the live model's first, and the verdict; give the exit status."""
    from itembed_tf.exporting.parity import max_differences

    worst = apart = 0.0
    live = None
    for road in found:
        if live is None:
            live = road
            print(_head(live), flush=True)
        line = f"{road.name:16}"
        for ours, theirs in ((live.captions, road.captions), (live.images, road.images)):
            off = max_differences(ours, theirs)
            line += f"{off.max():9.1e}{np.abs(ours - theirs).mean():9.1e}"
            if _is_float32(road):
                worst = max(worst, float(off.max())) if np.isfinite(off).all() else np.inf
        print(line + recalls(road.table), flush=True)
        if _is_float32(road):
            apart = max(apart, _apart(live.table, road.table))
    assert live is not None
    enough = len(live.captions) >= captions and len(live.images) >= pictures
    if not enough:
        print(f"dev is too small: at least {captions:,} captions and {pictures} pictures are to be compared")
    ok = worst <= BAR and apart == 0 and enough
    return verdict("parity", f"{worst:.1e}, recall {apart:.2f} points apart", f"{BAR:g}, 0", ok)


def _head(live: Road) -> str:
    return (
        f"{len(live.captions):,} captions and {len(live.images):,} pictures of dev; differences to the live model\n"
        f"{'':16}{'captions':>9}{'':9}{'pictures':>9}\n{'':16}{'worst':>9}{'mean':>9}{'worst':>9}{'mean':>9}{RECALL_HEAD}"
    )


def _is_float32(road: Road) -> bool:
    return not road.name.startswith("LiteRT") or road.name.endswith("float32")


def _apart(live: dict[str, Any], other: dict[str, Any]) -> float:
    """Percent points in the worst of the six recalls."""
    return max(abs(live[query][k] - other[query][k]) for query in ("image_query", "text_query") for k in RECALLS)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="a finished run directory")
    parser.add_argument("--quick", action="store_true", help="a run of seconds, or RUN, however small its dev")
    args = parser.parse_args(argv)
    from itembed_tf.training.run_directory import RunError

    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        try:
            own = args.quick and args.run == parser.get_default("run")
            run = small_run(Path(folder)) if own else Path(args.run)
            found = roads(run, Path(folder), QUICK if args.quick else PRECISIONS)
            return judge(found, *((1, 1) if args.quick else ()))
        except (RunError, OSError) as error:
            raise SystemExit(f"nothing to measure: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
