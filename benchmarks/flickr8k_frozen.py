"""Accuracy of configs/flickr8k.toml: dev rsum, mean of three seeds, and training time.

    ITEMBED_FLICKR8K=... python -m benchmarks.flickr8k_frozen [OUT] [--quick]

Trains OUT-seed0, -seed1 and -seed2 (default runs/flickr8k-seed0 ...) in turn and reads their metrics.json. Finished
runs are not trained again; an interrupted run is continued. Features of the frozen backbone are computed once and
cached; their time is reported separately ("cached" if they were in the cache). --quick trains one small run for one
epoch on generated images as a smoke test; its bar is 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runner import RECALL_HEAD, figures, flickr8k, print_versions, recalls, times, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k

CONFIG = Path(__file__).parents[1] / "configs" / "flickr8k.toml"
BAR = 285.0  # rsum; VSE++ on the same features reaches 271.2 (`benchmarks.time_to_accuracy`)


def measure(config: Path, out: Path, root: str, seeds: Sequence[int], overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Train every seed, print the table, return the dev tables."""
    runs = {seed: out.with_name(f"{out.name}-seed{seed}") for seed in seeds}
    for seed, run in runs.items():
        train(run, config, [f"seed={seed}", f"dataset.root={json.dumps(root)}", *overrides])
    print(f"\n{'seed':>4}{'rsum':>8}{RECALL_HEAD}{'epochs':>8}{'minutes':>9}{'features':>10}")
    found = []
    for seed, run in runs.items():
        metrics, spent = figures(run), times(run)
        table, epochs = metrics["dev"], sum(stage["epochs"] for stage in metrics["stages"])
        minutes = (spent["seconds"] - spent["features"]) / 60
        features = f"{spent['features'] / 60:.1f}" if spent["features"] else "cached"
        print(f"{seed:4}{table['rsum']:8.1f}{recalls(table)}{epochs:8}{minutes:9.1f}{features:>10}")
        found.append(table)
    print("in percent; i: image → text, t: text → image; minutes: without the time of features, in the last column")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/flickr8k", help="prefix of the run directories")
    parser.add_argument("--quick", action="store_true", help="one small run of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            root = write_tiny_flickr8k(Path(folder) / "images")
            tables, bar = measure(CONFIG, Path(folder) / "quick", root, [0], [*SMALL, "stages.0.epochs=1"]), 0.0
    else:
        tables, bar = measure(CONFIG, Path(args.out), flickr8k(), [0, 1, 2], []), BAR
    found = [table["rsum"] for table in tables]
    mean, spread = statistics.mean(found), max(found) - min(found)
    print(f"mean {mean:.1f}, from {min(found):.1f} to {max(found):.1f} ({spread:.1f} apart)")
    return verdict("flickr8k_frozen", f"dev rsum {mean:.1f}", f"{bar:.1f}", mean >= bar)


if __name__ == "__main__":
    sys.exit(main())
