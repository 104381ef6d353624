"""Accuracy of configs/flickr8k_best.toml: dev R@1 in both directions.

    ITEMBED_FLICKR8K=... python -m benchmarks.flickr8k_best [OUT] [--seeds 1] [--quick]

Trains OUT-seed0 ... (default runs/flickr8k_best-seed0) and reads their metrics.json. Most of the time is spent on
features. Finished runs are not trained again; an interrupted run is continued. The bar is NAA with a ResNet, on test,
in both directions. The config was selected on dev, so dev is optimistic: measure test separately with `itembed evaluate
RUN --split test`. --quick trains one small run for one epoch on generated images as a smoke test; its bar is 0.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.flickr8k_frozen import measure
from benchmarks.runner import flickr8k, print_versions, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k

CONFIG = Path(__file__).parents[1] / "configs" / "flickr8k_best.toml"
BAR = (37.2, 27.7)  # R@1 image → text and text → image: NAA, ResNet


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/flickr8k_best", help="prefix of the run directories")
    parser.add_argument("--seeds", type=int, default=1, choices=range(1, 6), help="runs to average (default: 1)")
    parser.add_argument("--quick", action="store_true", help="one small run of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        small = [*SMALL, "stages.0.epochs=1"]
        with tempfile.TemporaryDirectory() as folder:
            root = write_tiny_flickr8k(Path(folder) / "images")
            tables, bar = measure(CONFIG, Path(folder) / "quick", root, [0], small), (0.0, 0.0)
    else:
        tables, bar = measure(CONFIG, Path(args.out), flickr8k(), range(args.seeds), []), BAR
    found = [statistics.mean(table[query]["R@1"] for table in tables) for query in ("image_query", "text_query")]
    figure = f"dev R@1 {found[0]:.1f} / {found[1]:.1f}"
    return verdict("flickr8k_best", figure, f"above {bar[0]} / {bar[1]}", found[0] > bar[0] and found[1] > bar[1])


if __name__ == "__main__":
    sys.exit(main())
