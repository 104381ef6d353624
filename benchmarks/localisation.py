"""Phrase localisation on synthetic scenes: R@1 against random proposals, and the effect of hard negatives.

    python -m benchmarks.localisation [OUT] [--quick]

Generates 400 + 50 + 150 images with `itembed_tf.localisation.scenes` and trains configs/localisation.toml with three
seeds: stage I, then stage II from the same weights with and without hard negatives, in the same number of steps. The
figure is the final R@1 on test relative to a random proposal, mean of the seeds. OUT (default
runs/localisation-benchmark) keeps scenes and proposals for reuse, and index.html of the first seed. --quick: few small
images, one seed, one epoch; its bar is 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runner import print_versions, verdict

CONFIG = Path(__file__).parents[1] / "configs" / "localisation.toml"
TIMES = 3.0  # R@1 relative to that of a random proposal
MAX_PROPOSALS = 100  # of an image
ROWS = ("I", "II, hard negatives", "II, none")
# The package with GloVe needs Python 3.11; the Makefile makes the same choice.
SKIP_GRAM = ('word_vectors.source="skip-gram"', "word_vectors.extra_words=0")
QUICK = (
    "image.size=32",
    "embedding_size=32",
    "image_tower.hidden=64",
    "text_tower.hidden=64",
    "stages.0.epochs=1",
    "stages.0.batch_size=20",
    "stages.1.epochs=1",
    "stages.1.batch_size=20",
)


def measure(
    out: Path, seeds: Sequence[int], overrides: Sequence[str], max_proposals: int
) -> dict[str, list[dict[str, Any]]]:
    """Test metrics after each row of ROWS, for every seed."""
    import keras

    from itembed_tf.config import HARD_NEGATIVES, load_config
    from itembed_tf.data.readers import openmoji
    from itembed_tf.localisation.entities import read_entities, summary
    from itembed_tf.localisation.experiment import evaluate, new_model, prepare, train
    from itembed_tf.localisation.page import write_localisation_page
    from itembed_tf.localisation.proposals import compute_proposals, read_proposals, write_proposals

    config = load_config(CONFIG, overrides)
    images = read_entities(out / "scenes")
    print(", ".join(f"{count:,} {what}" for what, count in summary(images).items()))
    boxes = out / f"proposals-{max_proposals}.jsonl"
    if not boxes.exists():
        write_proposals(boxes, compute_proposals(images, max_proposals))
    data = prepare(config, images, read_proposals(boxes, images, max_proposals), positions=True)
    first, second = config.stages
    without = dataclasses.replace(second, losses={k: v for k, v in second.losses.items() if k != HARD_NEGATIVES})
    tables: dict[str, list[dict[str, Any]]] = {row: [] for row in ROWS}
    for seed in seeds:
        seeded = dataclasses.replace(config, seed=seed)
        keras.utils.set_random_seed(seed)
        model = new_model(seeded, data)
        train(model, seeded, data, first, 0)
        tables["I"].append(evaluate(model, data, "test")[1])
        after_first = model.get_weights()
        for row, stage in zip(ROWS[1:], (second, without)):
            model.set_weights(after_first)
            entry = train(model, seeded, data, stage, 1)
            found, figures = evaluate(model, data, "test")
            tables[row].append(figures)
            if row == ROWS[1]:
                print(f"seed {seed}: {entry['hard_negatives']:,} hard negatives", flush=True)
                if seed == seeds[0]:
                    regions = data.regions["test"]
                    write_localisation_page(
                        out, figures, found, regions, title="scenes", split="test", attribution=openmoji.attribution()
                    )
    return tables


def print_tables(tables: dict[str, list[dict[str, Any]]]) -> None:
    """Print the metrics of all rows, then of each phrase type after training."""
    print(f"\n{'test, mean of seeds':22}{'R@1':>7}{'R@5':>7}{'R@10':>7}   R@1 of each seed")
    for row, of_seeds in tables.items():
        means = [statistics.mean(t["all"][k] for t in of_seeds) for k in ("R@1", "R@5", "R@10")]
        each = " ".join(f"{t['all']['R@1']:.1f}" for t in of_seeds)
        print(f"stage {row:16}" + "".join(f"{value:7.1f}" for value in means) + f"   {each}")
    base = tables["I"][0]["all"]
    print(f"{'random proposal':22}" + "".join(f"{base['random'][k]:7.1f}" for k in ("R@1", "R@5", "R@10")))
    print(f"{'whole image':22}{base['whole_image']:7.1f}")
    print(f"{'upper bound':22}{base['upper_bound']:7.1f}   at least one proposal is correct")
    print(f"\n{'type, stage II':22}{'phrases':>8}{'R@1':>7}{'random':>8}{'bound':>7}")
    for type, figures in tables[ROWS[1]][0]["types"].items():
        mean = statistics.mean(t["types"][type]["R@1"] for t in tables[ROWS[1]])
        print(f"{type:22}{figures['phrases']:8}{mean:7.1f}{figures['random']['R@1']:8.1f}{figures['upper_bound']:7.1f}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", help="folder (default: runs/localisation-benchmark, with --quick runs/quick)")
    parser.add_argument("--quick", action="store_true", help="few small images, one seed, one epoch")
    args = parser.parse_args(argv)
    out = Path(args.out or ("runs/quick-localisation" if args.quick else "runs/localisation-benchmark"))
    started = time.monotonic()
    print_versions()
    from itembed_tf.localisation import scenes

    size = ("--train", "24", "--val", "1", "--test", "8", "--kinds", "24") if args.quick else ()
    if not (out / "scenes").exists() and scenes.main([str(out / "scenes"), *size]):
        return 1
    overrides = [*(SKIP_GRAM if sys.version_info < (3, 11) else ()), *(QUICK if args.quick else ())]
    tables = measure(out, [0] if args.quick else [0, 1, 2], overrides, 20 if args.quick else MAX_PROPOSALS)
    print_tables(tables)
    (out / "figures.json").write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
    gains = [a["all"]["R@1"] - b["all"]["R@1"] for a, b in zip(tables[ROWS[1]], tables[ROWS[2]])]
    print(
        f"hard negatives: {statistics.mean(gains):+.1f} points of R@1 against the same number of steps without "
        f"({', '.join(f'{gain:+.1f}' for gain in gains)})"
    )
    print(f"page: {out / 'index.html'}; {(time.monotonic() - started) / 60:.1f} minutes")
    reached = statistics.mean(t["all"]["R@1"] for t in tables[ROWS[1]])
    random = tables["I"][0]["all"]["random"]["R@1"]
    times, bar = reached / max(random, 1e-9), 0.0 if args.quick else TIMES
    figure = f"R@1 {reached:.1f}, {times:.1f} x random ({random:.1f})"
    return verdict("localisation", figure, f"{bar:.0f} x random", times >= bar)


if __name__ == "__main__":
    sys.exit(main())
