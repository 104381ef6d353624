"""Quick start: does the first command finish in time, write all outputs, and find unseen emoji?

    python -m benchmarks.quickstart [OUT] [--clone] [--quick]

Trains OpenMoji four times on two cores without a GPU: split by base emoji with seeds 0, 1 and 2, and split by id. The
first run starts with an empty cache, so its time includes rendering and features. OUT (default runs/quickstart) keeps
the runs; finished runs are not trained again. With --clone, the first run is that of a new user: git clone, `make
install` (not timed), `make train` (timed), in OUT/clone. --quick trains one small run with one epoch per stage, with
the user's cache, as a smoke test; its bars on recall are 0.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runner import RECALL_HEAD, figures, follow, print_versions, recalls, times, train, verdict

ROOT = Path(__file__).parents[1]
MINUTES = 10.0  # from the command to the report, on two cores
BASE, MINIMUM, ID = 48.0, 42.0, 80.0  # text → image R@10 in percent: mean of the seeds, minimum, split by id
WRITTEN = (
    "report/index.html",
    "encoders/image_encoder/1/saved_model.pb",
    "encoders/text_encoder/1/saved_model.pb",
    "encoders/text_encoder.float32.tflite",
)
QUICK = (
    "embedding_size=64",
    "image.size=32",
    "text_tower.width=0.125",
    "text_tower.blocks=[1]",
    "stages.0.epochs=1",
    "stages.0.cached_views=1",
    "stages.0.jit=false",
    "stages.1.epochs=1",
    "stages.1.freeze=['backbone']",
    "stages.1.cached_views=1",
)


def two_cores() -> dict[str, str]:
    """Pin this process and its children to two cores; returns the environment that hides GPUs."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    return {"CUDA_VISIBLE_DEVICES": "-1"}


def train_clone(folder: Path, env: dict[str, str]) -> Path:
    """Clone the committed state, install, and time `make train`; returns the run directory."""
    run = folder / "runs" / "openmoji"
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    make = ["make", f"PYTHON={sys.executable}"]
    subprocess.run([*make, "install"], cwd=folder, check=True)
    follow([*make, "train"], run, env, cwd=folder)
    return run


def missing(run: Path) -> list[str]:
    """Outputs that a finished run must have and this run lacks."""
    metrics = figures(run)
    wrong = [file for file in WRITTEN if not (run / file).exists()]
    if not metrics.get("finished"):
        wrong.append("metrics.json with finished = true")
    trained = [stage["name"] for stage in metrics.get("stages", []) if stage["epochs"] and stage["train"]]
    return wrong if len(trained) == 2 else [*wrong, f"both stages (there are {trained})"]


def print_table(runs: dict[str, Path]) -> None:
    """Metrics of all runs."""
    print(f"\n{'split':12}{'minutes':>8}{'epochs':>8}{RECALL_HEAD}{'chance':>8}{'emoji':>7}")
    for name, run in runs.items():
        metrics = figures(run)
        table, epochs = metrics["test"], "+".join(str(stage["epochs"]) for stage in metrics["stages"])
        emoji = table["gallery_images"]  # one drawing and one name each on test, so chance is equal in both directions
        minutes = times(run)["seconds"] / 60
        print(f"{name:12}{minutes:8.1f}{epochs:>8}{recalls(table)}{min(100, 1000 / emoji):8.1f}{emoji:7}")
    print("test, in percent; i: image → text, t: text → image; chance: of R@10")
    print("only the first run's minutes count; the others reuse its cached drawings and features")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", help="folder of the runs (default: runs/quickstart, with --quick runs/quick)")
    parser.add_argument("--clone", action="store_true", help="make the first run from a fresh clone, by make")
    parser.add_argument("--quick", action="store_true", help="one small run of an epoch a stage")
    args = parser.parse_args(argv)
    out = Path(args.out or ("runs/quick" if args.quick else "runs/quickstart")).resolve()
    base, minimum, by_id = (0.0, 0.0, 0.0) if args.quick else (BASE, MINIMUM, ID)
    env = two_cores()
    if args.quick:
        shutil.rmtree(out, ignore_errors=True)
    else:
        env["ITEMBED_CACHE"] = str(out / "cache")
    print_versions()
    # The package with GloVe needs Python 3.11; the Makefile makes the same choice.
    skip_gram = ["word_vectors.source=skip-gram", "word_vectors.extra_words=0"]
    words = skip_gram if sys.version_info < (3, 11) else []
    runs: dict[str, Path] = {}
    for seed in range(1 if args.quick else 3):
        runs[f"base seed {seed}"] = out / f"base-seed{seed}"
        if args.clone and seed == 0:
            runs["base seed 0"] = train_clone(out / "clone", env)
        else:
            train(out / f"base-seed{seed}", "", [f"seed={seed}", *words, *(QUICK if args.quick else ())], env)
    if not args.quick:
        runs["id seed 0"] = out / "id-seed0"
        train(runs["id seed 0"], "", ["seed=0", 'dataset.split_by="id"', *words], env)
    print_table(runs)
    wrong = [f"{name} lacks {what}" for name, run in runs.items() for what in missing(run)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    found = {name: figures(run)["test"]["text_query"]["R@10"] for name, run in runs.items()}
    by_base = [value for name, value in found.items() if name.startswith("base")]
    mean, minutes = statistics.mean(by_base), times(runs["base seed 0"])["seconds"] / 60
    id_found = found.get("id seed 0", 0.0)
    figure = f"R@10 {mean:.1f} base (minimum {min(by_base):.1f}), {id_found:.1f} id, {minutes:.1f} min"
    ok = not wrong and mean >= base and min(by_base) >= minimum and id_found >= by_id and minutes <= MINUTES
    return verdict("quickstart", figure, f"{base:.0f} ({minimum:.0f}) / {by_id:.0f} / {MINUTES:.0f}", ok)


if __name__ == "__main__":
    sys.exit(main())
