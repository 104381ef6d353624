"""How good do these encoders get on Flickr8k? Dev R@1 of configs/flickr8k_best.toml, both ways.

    ITEMBED_FLICKR8K=... python -m benchmarks.flickr8k_best [OUT] [--seeds 1] [--quick]

Trains OUT-seed0 ... (default runs/flickr8k_best-seed0) and reads their metrics.json. Most of the time goes into the
features. Finished runs are not trained again; an interrupted one goes on. The bar is what NAA reached with a ResNet on
test, and is to be passed both ways. Every choice of the config was made on dev, so that dev flatters it: test is
measured apart, by `python -m itembed_tf.evaluate RUN --split test`. --quick trains one small run of one epoch on drawn
pictures, to see that the programs hold together: its bar is 0.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.drawn import SMALL, drawn_flickr8k
from benchmarks.flickr8k_frozen import measure
from benchmarks.runner import flickr8k, print_versions, verdict

CONFIG = Path(__file__).parents[1] / "configs" / "flickr8k_best.toml"
BAR = (37.2, 27.7)  # R@1 of the picture query and of the sentence query: NAA, ResNet


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/flickr8k_best", help="where the runs are written, less -seedN")
    parser.add_argument("--seeds", type=int, default=1, choices=range(1, 6), help="runs whose mean counts (default: 1)")
    parser.add_argument("--quick", action="store_true", help="one small run of one epoch on drawn pictures")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        small = [*SMALL, "stages.0.epochs=1"]
        with tempfile.TemporaryDirectory() as folder:
            root = drawn_flickr8k(Path(folder) / "pictures")
            tables, bar = measure(CONFIG, Path(folder) / "quick", root, [0], small), (0.0, 0.0)
    else:
        tables, bar = measure(CONFIG, Path(args.out), flickr8k(), range(args.seeds), []), BAR
    found = [statistics.mean(table[query]["R@1"] for table in tables) for query in ("image_query", "text_query")]
    figure = f"dev R@1 {found[0]:.1f} / {found[1]:.1f}"
    return verdict("flickr8k_best", figure, f"above {bar[0]} / {bar[1]}", found[0] > bar[0] and found[1] > bar[1])


if __name__ == "__main__":
    sys.exit(main())
