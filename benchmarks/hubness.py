"""Hubness correction on Flickr8k dev: rsum without and with it, `a` and `k` chosen on one half, measured on the other.

    ITEMBED_FLICKR8K=... python -m benchmarks.hubness [OUT] [--configs flickr8k_cca flickr8k flickr8k_best] [--quick]
    python -m benchmarks.hubness --runs runs/flickr8k runs/mine      # finished runs as they are

Trains OUT-<config> (default runs/hubness-flickr8k_cca, ...), or takes finished runs. Dev is halved at random five
times, and each half is measured with what the other one chose; a half has 500 images and 2,500 captions. The banks are
of train. Both query directions must be no worse. --quick trains one small run on generated images; its bar is -600.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.calibrated import Calibrated, halves, read
from benchmarks.runner import flickr8k, print_versions, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k
from itembed_tf.evaluation.calibration import Side
from itembed_tf.retrieval import Bank, biases, choose_correction, recall_sum

CONFIGS = ("flickr8k_cca", "flickr8k", "flickr8k_best")
BAR = 12.0  # rsum
REPEATS = 5


@dataclass(frozen=True)
class Gain:
    """Means over the halves: R@1 + R@5 + R@10 of text and of image queries, plain and corrected."""

    text: tuple[float, float]
    image: tuple[float, float]

    @property
    def rsum(self) -> tuple[float, float]:
        return self.text[0] + self.image[0], self.text[1] + self.image[1]

    @property
    def gain(self) -> float:
        return self.rsum[1] - self.rsum[0]

    @property
    def no_worse(self) -> bool:
        return self.text[1] >= self.text[0] and self.image[1] >= self.image[0]


def measure(run: Calibrated, repeats: int = REPEATS) -> Gain:
    """Choose on one half of dev, measure on the other."""
    text, image = [], []
    for (images, captions), (other_images, other_captions) in halves(run.dev, repeats):
        text.append(_transferred(captions, images, other_captions, other_images, run.calibration.captions))
        image.append(_transferred(images, captions, other_images, other_captions, run.calibration.images))
    means = [tuple(float(value) for value in np.mean(pairs, axis=0)) for pairs in (text, image)]
    return Gain((means[0][0], means[0][1]), (means[1][0], means[1][1]))


def _transferred(queries: Side, items: Side, other: Side, other_items: Side, bank: Bank) -> tuple[float, float]:
    """Recall sums of the other half, plain and with the correction that this half chose."""
    choice = choose_correction(queries.vectors, items.vectors, queries.groups, items.groups, bank)
    cosines = other.vectors @ other_items.vectors.T
    bias = biases(other_items.vectors, bank, choice.correction)
    plain, corrected = (recall_sum(scores, other.groups, other_items.groups) for scores in (cosines, cosines - bias))
    return plain, corrected


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/hubness", help="prefix of the run directories")
    parser.add_argument("--configs", nargs="+", default=CONFIGS, metavar="NAME", help="configs to train")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="finished runs, in place of training")
    parser.add_argument("--quick", action="store_true", help="one small run of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        return _quick()
    runs = [Path(run) for run in args.runs or ()]
    if not args.runs:
        root = f"dataset.root={json.dumps(flickr8k())}"
        runs = [Path(f"{args.out}-{config}") for config in args.configs]
        for run, config in zip(runs, args.configs):
            train(run, config, [root])
    return report({run.name: measure(read(run)) for run in runs}, BAR)


def report(gains: dict[str, Gain], bar: float) -> int:
    """Print the table and the verdict."""
    print(f"\n{'half of dev':32}{'text → image':>20}{'image → text':>20}{'rsum':>20}{'gain':>8}")
    for name, each in gains.items():
        columns = "".join(f"{f'{plain:.1f} → {corrected:.1f}':>20}" for plain, corrected in (each.text, each.image))
        print(f"{name:32}{columns}{f'{each.rsum[0]:.1f} → {each.rsum[1]:.1f}':>20}{each.gain:+8.1f}")
    print("R@1 + R@5 + R@10 in percent, plain → corrected")
    least, no_worse = min(each.gain for each in gains.values()), all(each.no_worse for each in gains.values())
    figure = f"rsum {least:+.1f} or more on {len(gains)} runs, {'no' if no_worse else 'a'} direction worse"
    return verdict("hubness", figure, f"{bar:+.1f}, no direction worse", least >= bar and (no_worse or bar < 0))


def _quick() -> int:
    with tempfile.TemporaryDirectory() as folder:
        root = write_tiny_flickr8k(Path(folder) / "images")
        run = Path(folder) / "quick"
        train(run, "flickr8k", [f"dataset.root={json.dumps(root)}", *SMALL, "stages.0.epochs=1"])
        return report({"quick": measure(read(run), repeats=1)}, -600.0)


if __name__ == "__main__":
    sys.exit(main())
