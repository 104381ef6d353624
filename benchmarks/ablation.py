"""The paper's ablations (tables 2 to 6) on Flickr8k, beside the paper's figures.

    ITEMBED_FLICKR8K=... python -m benchmarks.ablation [OUT] [--only loss words ...] [--epochs 6] [--tune 1] [--seeds 3]

Every row is configs/flickr8k.toml (frozen EfficientNet-Lite0, our text tower and optimiser) with the paper's losses and
one change, trained with each seed and evaluated on dev after the last epoch. --epochs applies to Stage I. Rows of Stage
II continue for --tune epochs with the image CNN trainable (pointwise convolutions from the third block on) on images of
160 instead of 288 pixels; --tune 0 skips them. Finished runs in OUT (default runs/ablation) are not trained again.

A row is compared with the first of its family, seed by seed, by the sum of both R@1: "agrees" or "disagrees" with the
paper if the 95 % confidence interval of the difference (Student's t over seeds) excludes 0, otherwise "undecided". The
figure is the number of measured rows, the bar all rows. --quick trains small rows for one epoch on generated images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.runner import compare_with_paper, figures, flickr8k, print_versions, spread, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k

CONFIG = Path(__file__).parents[1] / "configs" / "flickr8k.toml"
INSTANCE = "{instance_image = 1.0, instance_text = 1.0}"
RANKING = "{ranking = 1.0}"
# In Stage II, to limit the time of a step on a CPU; the paper trains all layers, on five times as many images.
FROZEN = ["backbone_batch_norm", "backbone_depthwise", "backbone.stem", "backbone.block1", "backbone.block2"]
SMALL_IMAGES = ("image.size=160",)  # for the same reason: a third of the time of 288 pixels
BOTH = "{instance_image = 1.0, instance_text = 1.0, ranking = 1.0}"


class Row(NamedTuple):
    name: str
    changes: tuple[str, ...]  # settings, in addition to those of `run_row`
    paper: tuple[float, float]  # R@1 image → text and text → image
    losses: str = INSTANCE
    second: str = ""  # losses of Stage II; "" for none


# The first row of a family is the reference of the others. Tables 2, 5 and 6: Flickr30k dev; 3: Flickr30k; 4: COCO
# 1K. The same number of clusters per image as in the paper: 3,000 and 10,000 of 113,287 are 159 and 530 of 6,000.
FAMILIES: dict[str, tuple[Row, ...]] = {
    "loss": (
        Row("instance loss, Stage I", (), (39.9, 28.2)),
        Row("ranking loss, Stage I", (), (6.1, 4.9), RANKING),
        Row("both, Stage I", (), (37.6, 24.1), BOTH),
    ),
    "stage2": (
        Row("both in Stage II", SMALL_IMAGES, (55.4, 39.7), second=BOTH),
        Row("instance loss in Stage II", SMALL_IMAGES, (50.5, 34.9), second=INSTANCE),
        Row("ranking loss in Stage II", SMALL_IMAGES, (47.5, 29.0), second=RANKING),
    ),
    "depth": (
        Row("default text CNN", (), (44.4, 29.6)),
        Row("twice as deep", ("text_tower.blocks=[6, 8]",), (44.2, 30.7)),
    ),
    "classes": (
        Row("one class an image", (), (52.2, 37.2)),
        Row("530 clusters", ("classes.clusters=530",), (44.7, 31.3)),
        Row("159 clusters", ("classes.clusters=159",), (38.0, 26.1)),
    ),
    "words": (
        Row("word vectors", (), (39.9, 28.2)),
        Row("words at random", ('word_vectors.source="random"',), (38.0, 26.6)),
    ),
    "shift": (
        Row("position shift", ("data.shift=true", 'evaluation.shifts="all"'), (39.9, 28.2)),
        Row("left alignment", (), (34.1, 23.6)),
    ),
}


def folder_of(out: Path, row: Row, seed: int) -> Path:
    """Run directory of a row; equal rows of different families share one run."""
    name = "-".join((*row.changes, row.losses, *(("then", row.second) if row.second else ())))
    safe = "".join(c if c.isalnum() else "-" for c in name.replace("instance_", "").replace(" = 1.0", ""))
    return out / f"{'-'.join(part for part in safe.split('-') if part)}-seed{seed}"


def run_row(out: Path, row: Row, seed: int, epochs: int, tune: int, settings: Sequence[str]) -> Path:
    """Train one row with one seed, evaluated once, after the last epoch; only its metrics are kept."""
    run = folder_of(out, row, seed)
    stages = [f"stages.0.epochs={epochs}", f"stages.0.evaluate_every={epochs}", f"stages.0.losses={row.losses}"]
    stages += [*_margin(0, row.losses), 'stages.0.keep="last"']
    config = CONFIG
    if row.second:
        config = out / "two_stages.toml"
        out.mkdir(parents=True, exist_ok=True)
        config.write_text(
            f"base = {json.dumps(str(CONFIG))}\n[[stages]]\nname = 'II'\nfreeze = {json.dumps(FROZEN)}\n"
            "batch_size = 64\nlearning_rate = 3e-4\nmultipliers = { backbone = 0.3 }\nweight_decay = 0.05\n"
            "average = 0.98\nkeep = 'last'\n",
            encoding="utf-8",
        )
        stages += [f"stages.1.epochs={tune}", f"stages.1.evaluate_every={tune}", f"stages.1.losses={row.second}"]
        stages += _margin(1, row.second)
    train(run, config, (f"seed={seed}", *settings, *stages, *row.changes))
    for folder in ("weights", "encoders", "report", "ranks"):
        shutil.rmtree(run / folder, ignore_errors=True)
    return run


def _margin(stage: int, losses: str) -> list[str]:
    """The override that gives the ranking loss the paper's margin, 1 (section 6.2), where a stage has that loss."""
    return [f"stages.{stage}.losses.ranking.margin=1.0"] if "ranking" in losses else []


def table(out: Path, family: str, rows: Sequence[Row], seeds: Sequence[int]) -> int:
    """Print a family beside the paper's figures; returns the number of rows finished with all seeds."""
    print(f"\n| {family} | image → text R@1 | text → image R@1 | rsum | paper | difference to the first row |")
    print("|---|---|---|---|---|---|")
    first: list[float] = []
    done = 0
    for row in rows:
        paper = f"{row.paper[0]} / {row.paper[1]}"
        found = [figures(folder_of(out, row, seed)) for seed in seeds]
        if not all(metrics.get("finished") for metrics in found):
            print(f"| {row.name} | not measured | | | {paper} | |")
            continue
        done += 1
        tables = [metrics["dev"] for metrics in found]
        ones = [[t[query]["R@1"] for t in tables] for query in ("image_query", "text_query")]
        sums = [image + text for image, text in zip(*ones, strict=True)]
        if row is rows[0]:
            first = sums
        theirs = sum(row.paper) - sum(rows[0].paper)
        comparison = (
            compare_with_paper(sums, first, f"{theirs:+.1f}", theirs > 0) if first and row is not rows[0] else ""
        )
        cells = (row.name, *map(spread, ones), spread([t["rsum"] for t in tables]), paper, comparison)
        print(f"| {' | '.join(cells)} |")
    return done


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="runs/ablation", help="folder of the runs")
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of Stage I (default: 6)")
    parser.add_argument("--tune", type=int, default=1, help="epochs of Stage II; 0 skips its rows (default: 1)")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6), help="runs of every row (default: 3)")
    parser.add_argument("--quick", action="store_true", help="small rows of one epoch on generated images")
    args = parser.parse_args(argv)
    print_versions()
    families = {name: FAMILIES[name] for name in args.only if args.tune or name != "stage2"}
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            root = write_tiny_flickr8k(Path(folder) / "images")
            few = [Row("8 clusters", ("classes.clusters=8",), (44.7, 31.3)), FAMILIES["stage2"][0]]
            families = {"quick": (FAMILIES["loss"][0], *few)}
            return measure(Path(folder), families, [0], 1, 1, [f"dataset.root={json.dumps(root)}", *SMALL])
    settings = [f"dataset.root={json.dumps(flickr8k())}"]
    return measure(Path(args.out), families, range(args.seeds), args.epochs, args.tune, settings)


def measure(
    out: Path,
    families: dict[str, tuple[Row, ...]],
    seeds: Sequence[int],
    epochs: int,
    tune: int,
    settings: Sequence[str],
) -> int:
    """Train missing runs, seed by seed, and print the table of every family."""
    for seed in seeds:
        for row in (row for rows in families.values() for row in rows):
            run_row(out, row, seed, epochs, tune, settings)
    done = sum(table(out, name, rows, seeds) for name, rows in families.items())
    wanted = sum(len(rows) for rows in families.values())
    return verdict("ablation", f"{done} rows measured", str(wanted), done == wanted)


if __name__ == "__main__":
    sys.exit(main())
