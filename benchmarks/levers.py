"""What each lever adds to a single encoder and to the ensemble of configs/flickr8k_best.toml; members from 1 to 5.

    ITEMBED_FLICKR8K=... python -m benchmarks.levers [RUNS] [--seeds 3] [--chart FILE.svg] [--quick]

Takes the trained members of RUNS-seed0 ... (default runs/flickr8k_best, by `python -m benchmarks.flickr8k_best`) and
joins their embeddings anew: single encoders, two seeds on one CNN, two CNNs, three members as the config has them, then
four and five with members of the next seed. On each it measures the crops of `evaluation.crops`, the memory of training
images and the hubness correction, which is chosen on one half of dev and measured on the other. rsum is the sum of
R@1, R@5 and R@10 in both directions, on dev, the mean over seeds. An interval is of the difference over images (95 %):
a lever helps if the interval is above 0, does not help if it is below, and is undecided otherwise. The milliseconds of
a sentence are those of LiteRT on one thread, of the text tower alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.flickr8k_best import CONFIG, corrected
from benchmarks.flickr8k_frozen import measure
from benchmarks.runner import flickr8k, print_versions, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k

CROPS, WEIGHT, TEMPERATURE = 4, 0.3, 0.04
CUTOFFS = (1, 5, 10)
SETS: Mapping[str, Sequence[tuple[int, int]]] = {  # (how many seeds further, member of the config)
    "1: Lite2": [(0, 1)],
    "1: Lite1": [(0, 3)],
    "2: Lite2, Lite2": [(0, 1), (0, 2)],
    "2: Lite2, Lite1": [(0, 1), (0, 3)],
    "3: three on Lite2": [(0, 1), (0, 2), (1, 1)],
    "3: Lite2, Lite2, Lite1": [(0, 1), (0, 2), (0, 3)],
    "4: and a second on Lite1": [(0, 1), (0, 2), (0, 3), (1, 3)],
    "5: and a third on Lite2": [(0, 1), (0, 2), (0, 3), (1, 3), (1, 1)],
}
LEVERS = (  # name, set of members before, set after, what is added
    ("crops, one encoder", "1: Lite2", "1: Lite2", "crops"),
    ("memory, one encoder", "1: Lite2", "1: Lite2", "memory"),
    ("a second seed", "1: Lite2", "2: Lite2, Lite2", ""),
    ("a second CNN", "1: Lite2", "2: Lite2, Lite1", ""),
    ("a third seed", "2: Lite2, Lite2", "3: three on Lite2", ""),
    ("a second CNN as third member", "2: Lite2, Lite2", "3: Lite2, Lite2, Lite1", ""),
    ("a fourth member", "3: Lite2, Lite2, Lite1", "4: and a second on Lite1", ""),
    ("a fifth member", "4: and a second on Lite1", "5: and a third on Lite2", ""),
    ("crops, the config", "3: Lite2, Lite2, Lite1", "3: Lite2, Lite2, Lite1", "crops"),
    ("memory, the config", "3: Lite2, Lite2, Lite1", "3: Lite2, Lite2, Lite1", "memory"),
)


@dataclass(frozen=True, eq=False)
class Measured:
    """Figures of one seed: by image its share of rsum, and the corrected R@1 of both directions and rsum."""

    by_image: NDArray[np.float64]
    recall: tuple[float, float]
    corrected_recall: tuple[float, float]
    corrected: float

    @property
    def rsum(self) -> float:
        return float(self.by_image.mean())


def measure_sets(runs: Sequence[Path], size: int, rows: int) -> dict[tuple[str, str], list[Measured]]:
    """Every set of members with nothing, crops or memory added, for every seed."""
    from benchmarks.member_embeddings import (
        Embedded,
        banks_of,
        dev_of,
        embed_member,
        items_of,
        join,
        with_crops,
        with_memory,
    )

    wanted = {(seed, number) for seed in range(len(runs)) for number in (1, 2, 3)}
    members = {key: embed_member(runs[key[0]], key[1], CROPS) for key in sorted(wanted)}
    train, dev = items_of(runs[0])

    def figures(one: Embedded) -> Measured:
        split = dev_of(one, dev)
        by_image, recall = _by_image(split.images.vectors, split.captions.vectors, split.captions.groups)
        after, total = corrected(split, *banks_of(one, train, rows))
        return Measured(by_image, recall, after, total)

    found: dict[tuple[str, str], list[Measured]] = {}
    for name, parts in SETS.items():
        added = {what for _, _, after, what in LEVERS if after == name} | {""}
        for seed in range(len(runs)):
            one = join([members[(seed + further) % len(runs), number] for further, number in parts], size)
            ways = {"": one, "crops": with_crops(one), "memory": with_memory(one, WEIGHT, TEMPERATURE)}
            for what in sorted(added):
                found.setdefault((name, what), []).append(figures(ways[what]))
        print(f"measured: {name}", file=sys.stderr, flush=True)
    return found


def _by_image(
    images: NDArray[np.float32], captions: NDArray[np.float32], groups: NDArray[np.integer]
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """For each image its share of rsum in percent, whose mean is rsum; and R@1 of image and of text queries."""
    from itembed_tf.retrieval import embedding_scores, two_way_ranks

    image_ranks, text_ranks = two_way_ranks(embedding_scores(images, captions), np.arange(len(images)), groups)
    hits = sum(100.0 * (image_ranks <= k) for k in CUTOFFS)
    of_texts = sum(100.0 * (text_ranks <= k) for k in CUTOFFS)
    share = np.bincount(groups, weights=of_texts, minlength=len(images)) * len(images) / len(groups)
    return hits + share, (100 * float(np.mean(image_ranks <= 1)), 100 * float(np.mean(text_ranks <= 1)))


def text_milliseconds(runs: Sequence[Path]) -> dict[str, float]:
    """Milliseconds of a sentence in LiteRT, float32, one thread, by the number of text towers that are joined."""
    from itembed_tf.exporting.litert_convert import convert
    from itembed_tf.litert import litert_function
    from itembed_tf.models.ensemble import joined_text_tower, new_projection
    from itembed_tf.training.build import load_model
    from itembed_tf.training.run_directory import open_run

    folders = [runs[seed % len(runs)] / "members" / str(number) for seed, number in list(SETS.values())[-1]]
    towers = [load_model(open_run(folder)).get_layer("text_tower") for folder in folders]
    found = {}
    for count in range(1, len(towers) + 1):
        tower = joined_text_tower(towers[:count], new_projection(256)) if count > 1 else towers[0]
        function = litert_function(convert(tower, name="ids", precision="float32"))
        ids = np.zeros(tower.input.shape[1], np.int32)
        ids[:10] = np.arange(1, 11)
        taken = []
        for _ in range(200):
            started = time.perf_counter()
            function(ids)
            taken.append(time.perf_counter() - started)
        found[str(count)] = 1000 * float(np.median(taken))
    return found


def print_tables(found: dict[tuple[str, str], list[Measured]], milliseconds: Mapping[str, float], size: int) -> int:
    """Print the table of members and that of levers; the number of levers that are decided."""
    recalls = f"{'i R@1':>7}{'t R@1':>7}"
    print(f"\n{'members':28}{'rsum':>8}{recalls}{'corrected':>11}{recalls}{'ms':>7}{'bytes':>7}")
    for name in SETS:
        seeds = found[name, ""]
        plain, after = (np.mean([getattr(s, kind) for s in seeds], axis=0) for kind in ("recall", "corrected_recall"))
        rsum, total = np.mean([s.rsum for s in seeds]), np.mean([s.corrected for s in seeds])
        count = name.split(":")[0]
        stored = 2 * (1024 if count == "1" else size)
        print(
            f"{name:28}{rsum:8.1f}{plain[0]:7.1f}{plain[1]:7.1f}{total:11.1f}{after[0]:7.1f}{after[1]:7.1f}"
            f"{milliseconds.get(count, float('nan')):7.2f}{stored:7}"
        )
    print("bytes: of an item in a search index (float16); ms: of a sentence in LiteRT\n")
    print(f"{'lever':32}{'rsum':>8}{'interval':>18}{'corrected':>11}  verdict")
    decided = 0
    for title, before, after, what in LEVERS:
        pairs = list(zip(found[before, ""], found[after, what], strict=True))
        by_image = np.mean([new.by_image - old.by_image for old, new in pairs], axis=0)
        gain, error = float(by_image.mean()), 1.96 * float(by_image.std(ddof=1) / np.sqrt(len(by_image)))
        change = float(np.mean([new.corrected - old.corrected for old, new in pairs]))
        word = "helps" if gain > error else "does not help" if gain < -error else "undecided"
        decided += word != "undecided"
        print(f"{title:32}{gain:+8.1f}{gain - error:+9.1f} to{gain + error:+6.1f}{change:+11.1f}  {word}")
    singles = found["1: Lite2", ""]
    gains = [s.corrected - s.rsum for s in singles]
    print(f"hubness correction, one encoder {np.mean(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f} over seeds)")
    return decided


def write_chart(found: dict[tuple[str, str], list[Measured]], file: Path) -> None:
    """Plain and corrected rsum by number of members, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    names = list(SETS)
    for label, values in (
        ("plain cosine", [np.mean([s.rsum for s in found[name, ""]]) for name in names]),
        ("with hubness correction", [np.mean([s.corrected for s in found[name, ""]]) for name in names]),
    ):
        axes.plot(values, range(len(names)), "o", label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("Flickr8k dev, sum of R@1, R@5 and R@10 in both directions")
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})  # the same file for the same figures
    print(f"chart: {file}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", default="runs/flickr8k_best", help="prefix of the run directories")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6), help="runs to take (default: 3)")
    parser.add_argument("--chart", help="SVG file to write")
    parser.add_argument("--quick", action="store_true", help="two small ensembles of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            small = [*SMALL, "members=3", "calibration.rows=16", "stages.0.epochs=1"]
            root = write_tiny_flickr8k(Path(folder) / "images")
            return report(Path(folder) / "quick", root, range(2), small, chart=Path(folder) / "chart.svg")
    return report(Path(args.runs), flickr8k(), range(args.seeds), [], chart=Path(args.chart) if args.chart else None)


def report(out: Path, root: str, seeds: Sequence[int], overrides: Sequence[str], *, chart: Path | None) -> int:
    """Train what is missing, print the tables; the figure is the number of levers with a verdict."""
    from itembed_tf.training.run_directory import open_run

    measure(CONFIG, out, root, seeds, overrides)
    runs = [out.with_name(f"{out.name}-seed{seed}") for seed in seeds]
    config = open_run(runs[0]).config
    found = measure_sets(runs, config.embedding_size, config.calibration.rows)
    decided = print_tables(found, text_milliseconds(runs), config.embedding_size)
    if chart:
        write_chart(found, chart)
    figure = f"{len(LEVERS)} levers over {len(seeds)} seeds, {decided} decided"
    return verdict("levers", figure, f"a table of {len(LEVERS)}", len(found) >= len(SETS))


if __name__ == "__main__":
    sys.exit(main())
