"""Relevance bands: precision promised against precision found, and how many foreign queries are recognised.

    python -m benchmarks.bands RUN [RUN ...] [--quick]

Give a run on Flickr8k and one on OpenMoji. Dev of each is halved at random five times; bands are fitted to the first
hits of one half and their precision is found on the other. A gap is the difference of the two, the mean over the
halves of a band; "spread" is its standard deviation over them. Queries of one run's dev are then given to the other run
as foreign queries: a share has no known word, and a share of the rest is far from all of train. Absence: the AUC with
which the best score tells queries whose image is in a gallery of half of dev from queries whose image is not.
--quick trains one small run on generated images; its bar is 100 points.
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
from numpy.typing import NDArray

from benchmarks.calibrated import Calibrated, halves, read
from benchmarks.runner import print_versions, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k
from itembed_tf.evaluation.calibration import Side, far_limit, measured_bands
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.retrieval import Band, Bank, Correction, band_of, biases, nearest_cosine, shown_hits

BAR = 5.0  # points
REPEATS = 5
DIRECTIONS = {"text_to_image": "text → image", "image_to_text": "image → text"}


@dataclass(frozen=True)
class Promise:
    """A band of one direction: mean precision promised and found, in percent, and the halves that had the band."""

    name: str
    promised: float
    found: float
    spread: float
    hits: float
    times: int

    @property
    def gap(self) -> float:
        return abs(self.found - self.promised)


def promises(run: Calibrated, direction: str, repeats: int = REPEATS) -> list[Promise]:
    """Fit bands to one half of dev, look at the hits of the other."""
    text = direction == "text_to_image"
    bank = run.calibration.captions if text else run.calibration.images
    correction = run.calibration.corrections[direction]
    pairs: dict[str, list[tuple[float, float, int]]] = {}
    for one, other in halves(run.dev, repeats):
        queries, items = (one[1], one[0]) if text else one
        bands = measured_bands(queries, items, bank, correction)
        queries, items = (other[1], other[0]) if text else other
        for band, right in found(bands, queries, items, bank, correction):
            if band.hits and len(right):
                pairs.setdefault(band.name, []).append((100 * band.precision, 100 * float(right.mean()), band.hits))
    results = []
    for name, values in pairs.items():
        promised, share, hits = np.mean(values, axis=0)
        spread = float(np.std([value[1] - value[0] for value in values]))
        results.append(Promise(name, float(promised), float(share), spread, float(hits), len(values)))
    return results


def found(
    bands: Sequence[Band], queries: Side, items: Side, bank: Bank, correction: Correction
) -> list[tuple[Band, NDArray[np.bool_]]]:
    """For each band, whether each hit in it is right."""
    scores = queries.vectors @ items.vectors.T - biases(items.vectors, bank, correction)
    shown, right = shown_hits(scores, queries.groups, items.groups)
    names = np.array([band_of(bands, score) for score in shown.ravel().tolist()])
    return [(band, right.ravel()[names == band.name]) for band in bands]


def foreign(run: Calibrated, texts: Sequence[str]) -> tuple[float, float]:
    """Percent of foreign queries without a known word, and percent recognised in all: those and the far ones."""
    ids = run.pair.vocabulary.encode(texts)
    known = ids.any(axis=1)
    vectors = predict(inference_function(run.pair.text_encoder), ids[known], 256) if known.any() else None
    far = 0 if vectors is None else int(run.calibration.is_far("text", vectors).sum())
    unknown = len(texts) - int(known.sum())
    return 100 * unknown / len(texts), 100 * (unknown + far) / len(texts)


def false_alarms(run: Calibrated, repeats: int = REPEATS) -> float:
    """Percent of dev captions of one half that are below the limit of the other half."""
    bank, shares = run.calibration.captions, []
    for (_, captions), (_, other) in halves(run.dev, repeats):
        limit = far_limit(captions, bank).cosine
        shares.append(float(np.mean(nearest_cosine(other.vectors, bank.vectors) < limit)))
    return 100 * float(np.mean(shares))


def absence(run: Calibrated) -> float:
    """AUC of the best corrected score: queries whose image is in the gallery against queries whose image is not."""
    (images, captions), _ = next(halves(run.dev, 1))
    correction = run.calibration.corrections["text_to_image"]
    bias = biases(images.vectors, run.calibration.captions, correction)
    best = (run.dev.captions.vectors @ images.vectors.T - bias).max(axis=1)
    present = np.isin(run.dev.captions.groups, captions.groups)
    ranks = np.argsort(np.argsort(best))
    wins = ranks[present].sum() - present.sum() * (present.sum() - 1) / 2
    return float(wins / (present.sum() * (~present).sum()))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="finished runs")
    parser.add_argument("--quick", action="store_true", help="one small run of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            root = write_tiny_flickr8k(Path(folder) / "images")
            run = Path(folder) / "quick"
            train(run, "flickr8k", [f"dataset.root={json.dumps(root)}", *SMALL, "stages.0.epochs=1"])
            return report({"quick": read(run)}, bar=100.0)
    if not args.runs:
        parser.error("give finished runs, or --quick")
    return report({run: read(Path(run)) for run in args.runs}, BAR)


def report(runs: dict[str, Calibrated], bar: float) -> int:
    """Print the tables and the verdict."""
    gaps = [0.0]
    print(f"\n{'':48}{'promised':>10}{'found':>8}{'gap':>6}{'spread':>8}{'hits':>9}")
    for name, run in runs.items():
        for direction, title in DIRECTIONS.items():
            for each in promises(run, direction):
                row = f"{each.promised:9.1f}%{each.found:7.1f}%{each.gap:6.1f}{each.spread:8.1f}{each.hits:9,.0f}"
                print(f"{name[-24:]:25}{title:14}{each.name:9}{row}   in {each.times} of {2 * REPEATS} halves")
                gaps.append(each.gap)
    for name, run in runs.items():
        print(f"{name}: {false_alarms(run):.1f} % of dev captions are far by the limit of the other half of dev")
        print(f"{name}: absence, AUC of the best score {absence(run):.3f} (0.5 is chance)")
        for other, theirs in runs.items():
            if other != name:
                unknown, recognised = foreign(run, theirs.dev.texts)
                words = f"{unknown:.1f} % have no known word; {recognised:.1f} % are recognised"
                print(f"{name}: of the dev captions of {other}, {words}")
    return verdict("bands", f"largest gap {max(gaps):.1f} points", f"at most {bar:.0f}", max(gaps) <= bar)


if __name__ == "__main__":
    sys.exit(main())
