"""Recall of the exported encoders, from image files and strings, against `itembed evaluate` of the run.

    ITEMBED_FLICKR8K=... python -m benchmarks.export_recall [RUN] [--quick]

RUN is a finished run directory, by default runs/flickr8k. Its encoders are exported into a temporary folder, loaded,
and given the image files and captions of its dev split. The figure is the maximum difference of a recall, in percentage
points.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BAR = 0.1  # percentage points, maximum over the six recalls
RECALLS = ("R@1", "R@5", "R@10")
BATCH = 32


def data_override(run: Path) -> list[str]:
    """The location of Flickr8k on this machine, for a run on it."""
    from itembed_tf.training.run_directory import open_run

    if open_run(run).config.dataset.name != "flickr8k":
        return []
    return [f"dataset.root={json.dumps(os.environ.get('ITEMBED_FLICKR8K', '../shared/flickr8k'))}"]


def served_table(run: Path, exported: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The retrieval table of the run's dev split, computed with the exported encoders only."""
    import tensorflow as tf

    from itembed_tf.config import arguments, load_config
    from itembed_tf.data.batches import flatten
    from itembed_tf.data.readers import read_dataset, read_image
    from itembed_tf.data.unreadable import drop_unreadable, find_unreadable
    from itembed_tf.retrieval import retrieval_table

    config = load_config(run / "config.toml", ['dataset.splits=["dev"]', *overrides])
    groups = read_dataset(**arguments(config.dataset))
    items = flatten(
        drop_unreadable(groups, find_unreadable(groups, max_pixels=config.max_pixels), config.max_broken_percent)
    )
    version = str(json.loads((exported / "encoders.json").read_text(encoding="utf-8"))["version"])
    image = tf.saved_model.load(str(exported / "image_encoder" / version)).signatures["serving_default"]
    text = tf.saved_model.load(str(exported / "text_encoder" / version)).signatures["serving_default"]
    images = embed("images", items.images, lambda b: image(image_bytes=tf.constant([read_image(p) for p in b])))
    captions = embed("captions", items.captions, lambda batch: text(text=tf.constant(batch)))
    return retrieval_table(images, captions, items.image_groups, items.caption_groups).to_json()


def embed(unit: str, items: Sequence[Any], call: Callable[[Any], dict[str, Any]]) -> np.ndarray:
    """Embed all items with one signature, BATCH at a time: float32 [n, D]."""
    start = time.perf_counter()
    embeddings = [call(items[i : i + BATCH])["embedding"].numpy() for i in range(0, len(items), BATCH)]
    print(f"exported: {len(items):,} {unit}, {len(items) / (time.perf_counter() - start):.0f} {unit}/s")
    return np.concatenate(embeddings)


def compare(live: dict[str, Any], served: dict[str, Any]) -> float:
    """Print both tables side by side; return the maximum difference of a recall."""
    worst = 0.0
    print(f"{'':12}{'':>6}{'evaluate':>10}{'exported':>10}{'diff.':>8}")
    for query in ("image_query", "text_query"):
        for recall in RECALLS:
            a, b = live[query][recall], served[query][recall]
            worst = max(worst, abs(a - b))
            print(f"{query:12}{recall:>6}{a:10.2f}{b:10.2f}{b - a:8.2f}")
    print(f"{'rsum':18}{live['rsum']:10.2f}{served['rsum']:10.2f}{served['rsum'] - live['rsum']:8.2f}")
    return worst


def small_run(folder: Path) -> Path:
    """A run of a few seconds on 96 drawn images, for --quick: boxes that differ in colour, size, shape and position."""
    import tensorflow as tf

    from itembed_tf.config import load_config
    from itembed_tf.pipeline.train import train

    colours = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "black": (0, 0, 0)}
    sizes, shapes = {"small": 8, "large": 24}, {"tall": (2, 1), "wide": (1, 2), "square": (1, 1)}
    places = {"left": (8, 2), "right": (8, 38), "top": (0, 20), "bottom": (38, 20)}
    rows = []
    for number, words in enumerate(itertools.product(colours, sizes, shapes, places)):
        colour, size, shape, place = words
        (top, left), (tall, wide) = places[place], shapes[shape]
        pixels = np.full((64, 64, 3), 255, np.uint8)
        pixels[top : top + sizes[size] * tall, left : left + sizes[size] * wide] = colours[colour]
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        caption = f"a {size} {shape} {colour} box at the {place}"
        rows.append({"image": f"{number}.png", "caption": caption, "split": ("dev", "train", "train")[number % 5 % 3]})
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "small.toml").write_text(SMALL.format(root=json.dumps(str(folder))), encoding="utf-8")
    train(load_config(folder / "small.toml"), folder / "run")
    return folder / "run"


SMALL = """
embedding_size = 64
dataset = {{ name = "folder", root = {root}, splits = ["train", "dev"] }}
image.size = 64
word_vectors.source = "random"
text_tower = {{ width = 0.125, blocks = [1] }}

[[stages]]
epochs = 40
evaluate_every = 40
batch_size = 28
cached_views = 2
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="a finished run directory")
    parser.add_argument("--quick", action="store_true", help="use a small run, trained in a few seconds")
    args = parser.parse_args(argv)
    from itembed_tf.evaluation.evaluate import evaluate_run
    from itembed_tf.exporting import load_pair, write_saved_models
    from itembed_tf.training.run_directory import RunError

    with tempfile.TemporaryDirectory() as folder:
        try:
            run = small_run(Path(folder)) if args.quick else Path(args.run)
            overrides = data_override(run)
            live = evaluate_run(run, "dev", overrides).to_json()
        except (RunError, OSError) as error:
            raise SystemExit(f"nothing to measure: {error}") from None
        write_saved_models(Path(folder) / "exported", load_pair(run)[1])
        served = served_table(run, Path(folder) / "exported", overrides)
    print(f"{live['protocol']}; {live['gallery_images']:,} images, {live['gallery_captions']:,} captions")
    figure = compare(live, served)
    print(f"export_recall: {figure:.2f} points (bar {BAR}) {'ok' if figure <= BAR else 'short'}")
    return 0 if figure <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
