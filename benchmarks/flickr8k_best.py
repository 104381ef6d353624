"""Accuracy of configs/flickr8k_best.toml: dev R@1 in both directions, plain and with hubness correction.

    ITEMBED_FLICKR8K=... python -m benchmarks.flickr8k_best [OUT] [--seeds 3] [--single] [--quick]

Trains OUT-seed0 ... (default runs/flickr8k_best-seed0). Most of the time is spent on features. Finished runs are not
trained again; an interrupted run is continued. The corrected figures are those of one half of dev's queries in the
whole gallery of dev, with the correction that the other half chose; means over both halves of five random divisions.
The figures of the members of each ensemble, single encoders, are printed beside it. The config was selected on dev, so
dev is optimistic: measure test separately with `itembed evaluate RUN --split test`. --single measures the best single
encoder, configs/flickr8k_single.toml, which learns from the ensemble of the same seed: OUT-single-seed0 ..., their rsum
plain and corrected. --quick trains small encoders for one epoch on generated images as a smoke test; its bars are 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrated import Dev, halves, read
from benchmarks.flickr8k_frozen import measure
from benchmarks.runner import RECALL_HEAD, figures, flickr8k, print_versions, recalls, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k
from itembed_tf.evaluation.calibration import Side
from itembed_tf.retrieval import Bank, biases, choose_correction, matrix_scores, two_way_ranks

CONFIGS = Path(__file__).parents[1] / "configs"
CONFIG, SINGLE = CONFIGS / "flickr8k_best.toml", CONFIGS / "flickr8k_single.toml"
PLAIN, CORRECTED = (48.0, 34.0), (52.0, 39.0)  # bars: R@1 image → text and text → image
SINGLE_BARS = (352.0, 370.0)  # rsum of the single encoder, plain and corrected
REPEATS = 5
QUICK_SINGLE = ("members=0", "memory.rows=16", "evaluation.crops=0")
Pair = tuple[float, float]


def corrected(dev: Dev, images_bank: Bank, captions_bank: Bank) -> tuple[Pair, float]:
    """R@1 of image and of text queries of one half of dev in the whole gallery, corrected as the other half chose.

    Returns:
        Both, and the sum of R@1, R@5 and R@10 of both; in percent.
    """
    image, text = [], []
    for (images, captions), (held_out, _) in halves(dev, REPEATS):
        image.append(_recalls(images, captions, dev.images, dev.captions, held_out.groups, images_bank))
        text.append(_recalls(captions, images, dev.captions, dev.images, held_out.groups, captions_bank))
    by_image, by_text = np.mean(image, axis=0), np.mean(text, axis=0)
    return (float(by_image[0]), float(by_text[0])), float(by_image.sum() + by_text.sum())


def _recalls(
    queries: Side, items: Side, everything: Side, gallery: Side, held_out: NDArray[np.integer], bank: Bank
) -> NDArray[np.float64]:
    """R@1, R@5 and R@10 of held-out queries in the whole gallery, with the correction that `queries` chose."""
    choice = choose_correction(queries.vectors, items.vectors, queries.groups, items.groups, bank)
    scores = everything.vectors @ gallery.vectors.T - biases(gallery.vectors, bank, choice.correction)
    ranks, _ = two_way_ranks(matrix_scores(scores), everything.groups, gallery.groups)
    return np.array([100 * np.mean(ranks[np.isin(everything.groups, held_out)] <= k) for k in (1, 5, 10)])


def print_members(runs: Sequence[Path]) -> None:
    """The dev figures of each member, of the weights that it kept."""
    print(f"\n{'members':24}{'rsum':>8}{RECALL_HEAD}")
    for run in runs:
        for stage in figures(run)["stages"]:
            table = stage["val"]
            print(f"{run.name + ' ' + stage['name']:24}{table['rsum']:8.1f}{recalls(table)}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/flickr8k_best", help="prefix of the run directories")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6), help="runs to average (default: 3)")
    parser.add_argument("--single", action="store_true", help="measure the best single encoder")
    parser.add_argument("--quick", action="store_true", help="one small ensemble of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        small = [*SMALL, "members=2", "calibration.rows=16", "stages.0.epochs=1"]
        with tempfile.TemporaryDirectory() as folder:
            root = write_tiny_flickr8k(Path(folder) / "images")
            if args.single:
                return report_single(Path(folder) / "quick", root, [0], small, QUICK_SINGLE, bars=(0.0, 0.0))
            return report(Path(folder) / "quick", root, [0], small, bars=((0.0, 0.0), (0.0, 0.0)))
    if args.single:
        return report_single(Path(args.out), flickr8k(), range(args.seeds), [], [], bars=SINGLE_BARS)
    return report(Path(args.out), flickr8k(), range(args.seeds), [], bars=(PLAIN, CORRECTED))


def report(out: Path, root: str, seeds: Sequence[int], overrides: Sequence[str], *, bars: tuple[Pair, Pair]) -> int:
    """Train, print the tables, and hold the means against the bars of plain and of corrected R@1."""
    tables = measure(CONFIG, out, root, seeds, overrides)
    runs = [out.with_name(f"{out.name}-seed{seed}") for seed in seeds]
    print_members(runs)
    calibrated = [read(run) for run in runs]
    by_run = [corrected(each.dev, each.calibration.images, each.calibration.captions) for each in calibrated]
    for run, ((image, text), rsum) in zip(runs, by_run):
        print(f"{run.name}: corrected R@1 {image:.1f} / {text:.1f}, rsum {rsum:.1f}")
    plain = [statistics.mean(table[query]["R@1"] for table in tables) for query in ("image_query", "text_query")]
    after = np.mean([pair for pair, _ in by_run], axis=0).tolist()
    ok = all(value >= bar for value, bar in zip([*plain, *after], [*bars[0], *bars[1]], strict=True))
    figure = f"dev R@1 {plain[0]:.1f} / {plain[1]:.1f}, corrected {after[0]:.1f} / {after[1]:.1f}"
    allowed = ", ".join(f"{one:.0f} / {other:.0f}" for one, other in bars)
    return verdict("flickr8k_best", figure, allowed, ok)


def report_single(
    out: Path, root: str, seeds: Sequence[int], overrides: Sequence[str], more: Sequence[str], *, bars: Pair
) -> int:
    """Train the ensembles and the single encoders, whose settings are changed by `more` too; hold both rsum means."""
    single = out.with_name(f"{out.name}-single")
    for seed in seeds:
        place = [f"seed={seed}", f"dataset.root={json.dumps(root)}"]
        teacher = out.with_name(f"{out.name}-seed{seed}")
        train(teacher, CONFIG, [*place, *overrides])
        teaching = f"distill_from={json.dumps(str(teacher))}"
        train(single.with_name(f"{single.name}-seed{seed}"), SINGLE, [*place, teaching, *overrides, *more])
    plain = statistics.mean(table["rsum"] for table in measure(SINGLE, single, root, seeds, []))
    calibrated = [read(single.with_name(f"{single.name}-seed{seed}")) for seed in seeds]
    after = [corrected(each.dev, each.calibration.images, each.calibration.captions) for each in calibrated]
    for seed, ((image, text), rsum) in zip(seeds, after):
        print(f"seed {seed}: corrected R@1 {image:.1f} / {text:.1f}, rsum {rsum:.1f}")
    corrected_rsum = statistics.mean(rsum for _, rsum in after)
    figure = f"one encoder, dev rsum {plain:.1f}, corrected {corrected_rsum:.1f}"
    ok = plain >= bars[0] and corrected_rsum >= bars[1]
    return verdict("flickr8k_best", figure, f"{bars[0]:.0f}, {bars[1]:.0f}", ok)


if __name__ == "__main__":
    sys.exit(main())
