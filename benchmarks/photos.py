"""The config for one's own photographs, on Flickr8k: from JPEG files to exported encoders, with an empty cache.

    ITEMBED_FLICKR8K=... python -m benchmarks.photos [OUT] [--quick]

Trains configs/photos.toml into OUT (default runs/photos-flickr8k) as a user would, on the official train and dev of
Flickr8k, with a feature cache of its own beside OUT. The time is that of the whole command: reading, features,
training, evaluation, exports, report. An interrupted run is continued, and the times are added. The machine should have
two cores and nothing else to do. benchmarks/RESULTS.md has the time and dev rsum of VSE++ on the same images. --quick
trains a small run on generated images as a smoke test; its bar is 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runner import RECALL_HEAD, figures, flickr8k, print_versions, recalls, times, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k

RSUM, MINUTES = 340.0, 15.0  # bars


def measure(run: Path, root: str, overrides: Sequence[str]) -> tuple[float, float]:
    """Train a run; dev rsum, and the minutes of the command."""
    data = ["dataset.name=flickr8k", f"dataset.root={json.dumps(root)}", 'dataset.splits=["train", "dev"]']
    train(run, "photos", [*data, *overrides], env={"ITEMBED_CACHE": str(run.with_name(f"{run.name}-cache"))})
    metrics, spent = figures(run), times(run)
    table = metrics["dev"]
    print(f"\n{'':12}{'rsum':>8}{RECALL_HEAD}")
    print(f"{'plain':12}{table['rsum']:8.1f}{recalls(table)}")
    if "hubness_corrected" in table:
        print(f"{'corrected':12}{table['hubness_corrected']['rsum']:8.1f}{recalls(table['hubness_corrected'])}")
    print(f"{spent['seconds'] / 60:.1f} minutes, {spent['features'] / 60:.1f} of them for features")
    return table["rsum"], spent["seconds"] / 60


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/photos-flickr8k", help="run directory")
    parser.add_argument("--quick", action="store_true", help="a small run of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        small = [*SMALL, "members=0", "stages.0.epochs=1"]
        with tempfile.TemporaryDirectory() as folder:
            rsum, minutes = measure(Path(folder) / "quick", write_tiny_flickr8k(Path(folder) / "images"), small)
        return verdict("photos", f"dev rsum {rsum:.1f} in {minutes:.1f} minutes", "0", rsum >= 0)
    rsum, minutes = measure(Path(args.out), flickr8k(), [])
    figure = f"dev rsum {rsum:.1f} in {minutes:.1f} minutes"
    return verdict("photos", figure, f"{RSUM:.0f} in {MINUTES:.0f}", rsum >= RSUM and minutes <= MINUTES)


if __name__ == "__main__":
    sys.exit(main())
