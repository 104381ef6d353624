"""What a sampled softmax costs in recall: Flickr8k Stage I, a tenth of the classes in each step against all of them.

    ITEMBED_FLICKR8K=... python -m benchmarks.sampled_quality [OUT] [--epochs 24] [--set KEY=VALUE] [--quick]

Trains configs/flickr8k.toml with both, from seeds 0, 1 and 2, into OUT (default runs/sampled_quality); finished runs
are not trained again. 6,000 classes, 600 of them expected in a step. The figure is the difference of dev rsum, sampled
minus full, with its 95 % interval (paired by seed, Student's t). The bar is the spread of the three full runs: a loss
that is no larger than what another seed changes. --set changes a setting of all runs. --quick trains one seed for an
epoch on generated images as a smoke test; its bar always holds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runner import RECALL_HEAD, T95, figures, flickr8k, print_versions, recalls, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k

CONFIG = Path(__file__).parents[1] / "configs" / "flickr8k.toml"
SEEDS, SHARE, TRAINING_IMAGES = (0, 1, 2), 0.1, 6000


def train_both(out: Path, root: str, seed: int, sampled: int, overrides: Sequence[str]) -> tuple[float, float]:
    """Dev rsum of one seed: with the full and with the sampled softmax."""
    rsums = []
    for softmax in ("full", "sampled"):
        changes = [f"dataset.root={json.dumps(root)}", f"seed={seed}", f"model.softmax={softmax}"]
        changes += [f"model.sampled_classes={sampled}"] if softmax == "sampled" else []
        train(out / f"{softmax}-{seed}", CONFIG, (*changes, *overrides))
        metrics = figures(out / f"{softmax}-{seed}")
        seconds = metrics["stages"][0]["seconds"]
        print(
            f"{softmax:>8} {seed}: {metrics['dev']['rsum']:6.1f}  {recalls(metrics['dev'])}  {seconds:.0f} s",
            flush=True,
        )
        rsums.append(metrics["dev"]["rsum"])
    return rsums[0], rsums[1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/sampled_quality", help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=24, help="epochs of each run (default: 24)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all runs")
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, generated images")
    args = parser.parse_args(argv)
    print_versions()
    print(f"{'run':>10}    rsum  {RECALL_HEAD}  training")
    with tempfile.TemporaryDirectory() as folder:
        if args.quick:
            root = write_tiny_flickr8k(Path(folder) / "images")
            small = ("stages.0.epochs=1", *SMALL)
            pairs = [train_both(Path(folder), root, 0, 4, small)]
        else:
            overrides = (f"stages.0.epochs={args.epochs}", *args.set)
            sampled = round(SHARE * TRAINING_IMAGES)
            pairs = [train_both(Path(args.out), flickr8k(), seed, sampled, overrides) for seed in SEEDS]
    full = [rsum for rsum, _ in pairs]
    differences = [sampled - rsum for rsum, sampled in pairs]
    mean, spread = statistics.mean(differences), max(full) - min(full)
    if args.quick:
        return verdict("sampled_quality", f"{mean:+.1f} rsum, one seed", "none", True)
    reach = T95[len(pairs)] * statistics.stdev(differences) / len(pairs) ** 0.5
    print(f"full {statistics.mean(full):.1f} ({min(full):.1f} to {max(full):.1f}); differences {differences}")
    figure = f"{mean:+.1f} rsum ({mean - reach:+.1f} to {mean + reach:+.1f}) with a tenth of the classes"
    return verdict("sampled_quality", figure, f"-{spread:.1f}, the spread of the seeds", mean >= -spread)


if __name__ == "__main__":
    sys.exit(main())
