"""The bridge between two encoders: recall by number of re-encoded images, against re-encoding all of them.

    ITEMBED_FLICKR8K=... python -m benchmarks.bridge [OUT] [--quick]
    ITEMBED_FLICKR8K=... python -m benchmarks.bridge --new RUN --seed RUN --backbone RUN     # finished runs

The gallery is Flickr8k dev, 1,000 images, searched with its 5,000 captions and the other way round; a bridge is
learned on N re-encoded training images and on 4,000 training captions, and dev is searched through it by the new
encoders. Old indexes: a run of another seed, and one of another backbone (EfficientNet-Lite1 at 160 pixels). Bars: at
1,000 re-encoded images, 92 % of the new rsum for the seed; for the backbone 97 % of what the old index gave, and
above it at 3,000. Then a growing share of dev itself is re-encoded, in ten orders; the mean of the ten may not fall.
Nothing is chosen on dev. --quick trains small runs on generated images; its bars are 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrated import features_of
from benchmarks.runner import flickr8k, print_versions, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k
from itembed_tf.config import arguments
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import read_dataset
from itembed_tf.evaluation.calibration import Side
from itembed_tf.evaluation.embeddings import embedder
from itembed_tf.index.bridge import Bridge, fit_bridge
from itembed_tf.index.text_pairs import MOST
from itembed_tf.retrieval import retrieval_table
from itembed_tf.training.build import load_model
from itembed_tf.training.run_directory import open_run

SIZES = (250, 500, 1000, 2000, 3000, 6000)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of dev, re-encoded in the place of mapped vectors
ORDERS = 10  # in which dev is re-encoded; the mean of the ten is looked at
NOISE = 1.0  # points of rsum by which it may fall: where mapped vectors find as much as re-encoded ones, it is even
QUERIES = 2000  # training captions by which a bridge is judged
SHORT = ("stages.0.epochs=3", "stages.0.cached_views=1", "evaluation.flip=false")  # of every run: minutes on two cores
BACKBONE = ("image_tower.backbone=efficientnet-lite1", "image.size=160")
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embedded:
    """A run's embeddings of train and dev; the images of two runs are the same, in the same order."""

    train_images: Vectors
    train_captions: Vectors
    dev_images: Side
    dev_captions: Side


@dataclass(frozen=True)
class Curve:
    """rsum of dev: by the old index, by the new one, through bridges by size, and with a share of dev re-encoded.

    The latter is the mean of several orders of dev.
    """

    old: float
    new: float
    bridges: dict[int, tuple[Bridge, float]]
    shares: dict[float, float]

    @property
    def falls(self) -> float:
        """The largest fall of rsum as more of dev is re-encoded."""
        values = list(self.shares.values())
        return max([0.0, *(before - after for before, after in pairwise(values))])


def embed(run: Path) -> Embedded:
    """Embed train and dev of a run, from cached features where no stage has changed the backbone."""
    opened = open_run(run)
    config, model = opened.config, load_model(opened)
    sides: list[Side] = []
    for split in ("train", "dev"):
        items = flatten(read_dataset(**{**arguments(config.dataset), "splits": (split,)}))
        features = features_of(config, model)
        settings = arguments(config.image) | arguments(config.evaluation)
        cached = features(items) if features else None
        embeddings = embedder(model, items, opened.vocabulary, **settings, features=cached)()
        sides += [Side(embeddings.images, items.image_groups), Side(embeddings.captions, items.caption_groups)]
    return Embedded(sides[0].vectors, sides[1].vectors, sides[2], sides[3])


def measure(old: Embedded, new: Embedded, sizes: Sequence[int] = SIZES) -> Curve:
    """Learn bridges on some training images, search dev through them."""
    random = np.random.default_rng(0)
    order = random.permutation(len(new.train_images))
    asked, told = np.split(random.permutation(len(new.train_captions))[: QUERIES + MOST], [QUERIES])
    bridges = {}
    for size in [size for size in sizes if size <= len(order)]:
        rows, texts = order[:size], (old.train_captions[told], new.train_captions[told])
        bridge = fit_bridge(old.train_images[rows], new.train_images[rows], new.train_captions[asked], texts=texts)
        bridges[size] = bridge, rsum(bridge.map(old.dev_images.vectors), new)
    mapped = bridges[1000 if 1000 in bridges else max(bridges)][0].map(old.dev_images.vectors)
    turns = [random.permutation(len(mapped)) for _ in range(ORDERS)]
    shares = {share: float(np.mean([_mixed(mapped, new, turn, share) for turn in turns])) for share in SHARES}
    return Curve(rsum(old.dev_images.vectors, old), rsum(new.dev_images.vectors, new), bridges, shares)


def _mixed(mapped: Vectors, new: Embedded, turn: NDArray[np.integer], share: float) -> float:
    """rsum of dev with the first images of an order re-encoded."""
    rows, images = turn[: round(share * len(mapped))], mapped.copy()
    images[rows] = new.dev_images.vectors[rows]
    return rsum(images, new)


def rsum(images: Vectors, queries: Embedded) -> float:
    """rsum of dev with these vectors of its images, and the captions of a run."""
    captions = queries.dev_captions
    return retrieval_table(images, captions.vectors, queries.dev_images.groups, captions.groups).rsum


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/bridge", help="prefix of the run directories")
    for name in ("new", "seed", "backbone"):
        parser.add_argument(f"--{name}", type=Path, metavar="RUN", help="a finished run, in place of training")
    parser.add_argument("--quick", action="store_true", help="small runs of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        if args.quick:
            root, out = write_tiny_flickr8k(Path(folder) / "images"), f"{folder}/quick"
            settings = [*SMALL, "stages.0.epochs=1"]
        else:
            root, out, settings = flickr8k(), args.out, list(SHORT)
        runs = {name: getattr(args, name) or Path(f"{out}-{name}") for name in ("new", "seed", "backbone")}
        own = {"new": (), "seed": ("seed=1",), "backbone": () if args.quick else BACKBONE}
        for name, run in runs.items():
            if getattr(args, name) is None:
                train(run, "flickr8k", [f"dataset.root={json.dumps(root)}", *settings, *own[name]])
        new = embed(runs["new"])
        sizes = (len(new.train_images),) if args.quick else SIZES
        curves = {name: measure(embed(runs[name]), new, sizes) for name in ("seed", "backbone")}
    return report(curves, quick=args.quick)


def report(curves: dict[str, Curve], *, quick: bool = False) -> int:
    """Print the curves and the verdict."""
    for name, curve in curves.items():
        print(f"\nold index of another {name}: rsum {curve.old:.1f}; all re-encoded: {curve.new:.1f}")
        columns = (("map", 12), ("penalty", 9), ("texts", 7), ("recall@10", 11), ("cosine", 8), ("rsum", 8))
        named = "".join(f"{name:>{width}}" for name, width in (*columns, ("% of new", 10), ("% of old", 10)))
        print(f"{'re-encoded':>10}{named}")
        for size, (bridge, found) in curve.bridges.items():
            shares = f"{100 * found / curve.new:10.1f}{100 * found / curve.old:10.1f}"
            chosen = f"{bridge.kind:>12}{bridge.penalty:9g}{bridge.text_weight:7g}"
            print(f"{size:10,}{chosen}{bridge.recall:11.3f}{bridge.cosine:8.3f}{found:8.1f}{shares}")
        print("share of dev re-encoded: " + ", ".join(f"{s:.0%} {value:.1f}" for s, value in curve.shares.items()))
    if quick:
        return verdict("bridge", f"{len(curves)} curves", "2 curves", len(curves) == 2)
    seed, backbone = curves["seed"], curves["backbone"]
    of_new = 100 * seed.bridges[1000][1] / seed.new
    of_old = [100 * backbone.bridges[size][1] / backbone.old for size in (1000, 3000)]
    falls = max(seed.falls, backbone.falls)
    figure = f"{of_new:.1f} % of new; {of_old[0]:.1f} and {of_old[1]:.1f} % of old; falls by {falls:.1f}"
    ok = of_new >= 92 and of_old[0] >= 97 and of_old[1] > 100 and falls <= NOISE
    return verdict("bridge", figure, f"92; 97 and above 100; at most {NOISE}", ok)


if __name__ == "__main__":
    sys.exit(main())
