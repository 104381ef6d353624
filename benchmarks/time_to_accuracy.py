"""How long until we are as good as VSE++ at its best? Same frozen features, same machine, one after the other.

    ITEMBED_FLICKR8K=... ITEMBED_TORCH_PYTHON=... python -m benchmarks.time_to_accuracy [OUT] [--quick]

The peer, `benchmarks.vsepp`, needs `pip install torch numpy`, best in an environment of its own, whose interpreter
ITEMBED_TORCH_PYTHON names. It is trained for 30 epochs on the features that configs/flickr8k.toml is trained on: once
on the plain view, once on all of them (plain, mirror image, two crops). The highest rsum on dev of all its epochs is
the mark, and the seconds of training up to it are the peer's time.

Then configs/flickr8k.toml is trained with ever more epochs, until a run reaches the mark: its schedule is tuned to its
length, so that a shorter run is not the first part of a longer one. All epochs of a shortened run count, and in the
config's own length those until the mark; shorter runs that did not reach it do not count, their time is printed. Both
sides are measured on dev after every epoch by the same function, pictures averaged with their mirror images. Seconds
are those of the training loops: features, start-up and evaluation are left out on both sides; what whole processes took
is printed too. Finished runs in OUT are not trained again: for a figure of a machine in one state, give a new folder.

The figure is our time over the peer's; the same for 95 and 99 % of the mark stands above it. --quick trains tiny ones
of both for an epoch on drawn pictures, to see that the programs hold together: its mark is 0, its bar none.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawn import SMALL, drawn_flickr8k
from benchmarks.runner import RECALL_HEAD, flickr8k, follow, print_versions, recalls, times, train, verdict

HERE = Path(__file__).parents[1]
CONFIG = HERE / "configs" / "flickr8k.toml"
BAR = 0.125
LENGTHS = (4, 6, 8, 12, 16, 24)  # epochs of ours; the last is the config's own
PEERS = {  # name -> settings of benchmarks.vsepp; the sum is VSE0, trained when --peers asks for it
    "max-plain": ("--hinge", "max", "--views", "1"),
    "max-views": ("--hinge", "max", "--views", "4"),
    "sum-plain": ("--hinge", "sum", "--views", "1"),
    "sum-views": ("--hinge", "sum", "--views", "4"),
}
TINY_PEER = ("--epochs", "1", "--batch-size", "8", "--word-width", "16", "--embedding-size", "32")
SPECIAL = {"": 0, "<start>": 1, "<end>": 2, "<unknown>": 3}  # ids before those of the words
LEAST = 4  # occurrences in the training captions that make a word known to the peer

History = list[dict[str, Any]]
Reached = tuple[str, dict[str, Any], float]  # name, entry, seconds


def torch_python() -> str:
    """The interpreter that has PyTorch.

    Raises:
        SystemExit: it has none; says what to install, and where.
    """
    python = os.environ.get("ITEMBED_TORCH_PYTHON", sys.executable)
    code = "import numpy, torch; print('peer: torch', torch.__version__, 'numpy', numpy.__version__)"
    try:
        said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        problem = (said.stderr.strip().splitlines() or [f"ended with {said.returncode}"])[-1]
    except OSError as error:
        problem, said = str(error), None
    if said is None or said.returncode:
        raise SystemExit(
            f"time_to_accuracy: VSE++ is trained with the package torch, and {python} cannot import it ({problem}): "
            "pip install torch numpy, best into an environment of its own, and name its interpreter in "
            "ITEMBED_TORCH_PYTHON"
        )
    print(said.stdout.strip())
    return python


def peer_ids(captions: Sequence[str], known: Mapping[str, int], tokenize: Any) -> np.ndarray:
    """Ids int32 [m, L] as the peer's authors have them: start, the words or <unknown>, end, then 0 for padding."""
    start, end, unknown = (SPECIAL[name] for name in ("<start>", "<end>", "<unknown>"))
    sentences = [[start, *(known.get(word, unknown) for word in tokenize(c)), end] for c in captions]
    rows = np.zeros((len(sentences), max(map(len, sentences))), np.int32)
    for row, sentence in zip(rows, sentences, strict=True):
        row[: len(sentence)] = sentence
    return rows


def write_data(folder: Path, overrides: Sequence[str]) -> None:
    """The features and captions that a run of CONFIG is trained and measured on, as `benchmarks.vsepp` reads them."""
    from itembed_tf.config import load_config
    from itembed_tf.data.batches import flatten

    # The training's own functions: the same pictures left out, and the very files of features that it will read.
    from itembed_tf.pipeline.train import _readable_groups
    from itembed_tf.text import build_vocabulary
    from itembed_tf.training.frozen_outputs import image_features
    from itembed_tf.training.run_directory import build_model

    config = load_config(CONFIG, overrides)
    groups, _ = _readable_groups(config, folder)
    items = {split: flatten([g for g in groups if g.split == split]) for split in ("train", "dev")}
    vocabulary = build_vocabulary(
        items["train"].captions,
        tokenizer="words",
        lowercase=True,
        length=1,
        min_count=LEAST,
        only_with_vectors=False,
    )
    known = {word: len(SPECIAL) + number for number, word in enumerate(vocabulary.words)}
    print(f"peer: {len(known):,} words that occur {LEAST} times in the training captions", flush=True)
    model = build_model(config, vocabulary_size=2, classes=1)
    views = {"train": config.stages[0].cached_views, "dev": 1 + config.evaluation.flip}
    for split, part in items.items():
        mirror = config.augmentation.flip if split == "train" else config.evaluation.flip
        features = image_features(config, model, part, views[split], mirror=mirror)
        if not np.array_equal(part.image_groups, np.arange(len(part.images))):
            raise SystemExit(f"time_to_accuracy: {split} has groups of several pictures, which the peer cannot take")
        np.savez(
            folder / f"{split}.npz",
            views=np.stack(features),
            ids=peer_ids(part.captions, known, vocabulary.tokenize),
            pictures=part.caption_groups,
        )


def history(run: Path) -> History:
    """The entries of a run's history.jsonl, which both sides write alike: "epoch", "seconds", "val"."""
    return [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def best(entries: History) -> dict[str, Any]:
    """The entry of the highest rsum on dev, the first of equal ones."""
    return max(entries, key=lambda entry: entry["val"]["rsum"])


def seconds_until(entries: History, epoch: int) -> float:
    """Seconds of training up to the end of that epoch."""
    return sum(entry["seconds"] for entry in entries if entry["epoch"] <= epoch)


def quickest(runs: Mapping[str, History], mark: float, whole: Collection[str] = ()) -> Reached | None:
    """The run that reached the mark in the least time, its first entry there, and the seconds that count.

    Of the runs in `whole` all epochs count: their schedule ended later than the entry.
    """
    found: list[Reached] = []
    for name, entries in runs.items():
        entry = next((entry for entry in entries if entry["val"]["rsum"] >= mark), None)
        if entry:
            last = entries[-1]["epoch"] if name in whole else entry["epoch"]
            found.append((name, entry, seconds_until(entries, last)))
    return min(found, key=lambda each: each[2], default=None)


def measure_peer(out: Path, python: str, names: Sequence[str], more: Sequence[str]) -> dict[str, History]:
    """Train VSE++ in the settings named; their histories."""
    for name in names:
        run = out / f"peer-{name}"
        command = [python, "-m", "benchmarks.vsepp", str((out / "data").resolve()), str(run.resolve())]
        follow([*command, *PEERS[name], *more], run, cwd=HERE)
    return {name: history(out / f"peer-{name}") for name in names}


def measure_ours(out: Path, mark: float, lengths: Sequence[int], overrides: Sequence[str]) -> dict[str, History]:
    """Train CONFIG with ever more epochs until the mark is reached; the histories, shortest first."""
    found: dict[str, History] = {}
    for epochs in lengths:
        name = f"ours-{epochs}"
        train(out / name, CONFIG, [*overrides, f"stages.0.epochs={epochs}", "stages.0.evaluate_every=1"])
        found[name] = history(out / name)
        if quickest(found, mark):
            break
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.time_to_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", nargs="?", default="runs/time_to_accuracy", help="folder of the runs")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=["max-plain", "max-views"], metavar="PEER")
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS), metavar="EPOCHS", help="tried of ours")
    parser.add_argument("--seed", type=int, default=0, help="of both sides")
    parser.add_argument("--quick", action="store_true", help="tiny ones of an epoch on drawn pictures")
    args = parser.parse_args(argv)
    python = torch_python()
    print_versions()
    print(f"load of the machine: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "", flush=True)
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            overrides = [*SMALL, f"dataset.root={json.dumps(drawn_flickr8k(Path(folder) / 'pictures'))}"]
            return compare(Path(folder) / "out", python, args, [1], overrides, TINY_PEER)
    overrides = [f"seed={args.seed}", f"dataset.root={json.dumps(flickr8k())}"]
    return compare(Path(args.out), python, args, sorted(args.lengths), overrides, ("--seed", str(args.seed)))


def compare(
    out: Path,
    python: str,
    args: argparse.Namespace,
    lengths: Sequence[int],
    overrides: Sequence[str],
    more: Sequence[str],
) -> int:
    """Both sides, their tables, and the closing line."""
    from itembed_tf.config import load_config

    (out / "data").mkdir(parents=True, exist_ok=True)
    write_data(out / "data", overrides)
    peers = measure_peer(out, python, args.peers, more)
    mark = 0.0 if args.quick else max(best(entries)["val"]["rsum"] for entries in peers.values())
    ours = measure_ours(out, mark, lengths, overrides)
    shortened = {name for name in ours if name != f"ours-{load_config(CONFIG, overrides).stages[0].epochs}"}

    print_runs(out, {f"peer-{name}": entries for name, entries in peers.items()} | ours)
    ratio = compare_at(mark, peers, ours, shortened)
    bar = "none" if args.quick else f"{BAR:.3f}"
    if ratio == math.inf:
        return verdict("time_to_accuracy", f"dev rsum {mark:.1f} not reached", bar, False)
    return verdict("time_to_accuracy", f"{ratio:.3f} of VSE++'s time", bar, args.quick or ratio <= BAR)


def print_runs(out: Path, runs: Mapping[str, History]) -> None:
    """Every run at its best epoch."""
    print(f"\n{'':16}{'best':>5}{'rsum':>8}{RECALL_HEAD}{'seconds':>9}{'all':>7}{'process':>9}")
    for name, entries in runs.items():
        top, table = best(entries), best(entries)["val"]
        print(f"{name:16}{top['epoch']:5}{table['rsum']:8.1f}{recalls(table)}", end="")
        print(f"{seconds_until(entries, top['epoch']):9.0f}{seconds_until(entries, len(entries)):7.0f}", end="")
        print(f"{times(out / name)['seconds']:9.0f}")
    print("best: epoch of the highest rsum on dev; i: picture query, t: sentence query, in percent; seconds: of the")
    print("training loop to that epoch; all: to the last; process: with start-up, evaluation, our report and encoders")


def compare_at(mark: float, peers: Mapping[str, History], ours: Mapping[str, History], whole: Collection[str]) -> float:
    """Print how long both sides took to parts of the mark and to the mark; ours over the peer's there, or infinity."""
    print(f"\n{'dev rsum':>15}{'VSE++':>12}{'epoch':>6}{'seconds':>9}{'ours':>9}{'epoch':>6}{'seconds':>9}{'ratio':>7}")
    ratio = math.inf
    for share in (0.95, 0.99, 1.0):  # 1 last: it is the figure
        peer, mine = quickest(peers, share * mark), quickest(ours, share * mark, whole)
        assert peer is not None
        ratio = mine[2] / peer[2] if mine else math.inf
        text = f"{share:7.0%}{share * mark:8.1f}{peer[0]:>12}{peer[1]['epoch']:6}{peer[2]:9.0f}"
        print(f"{text}{mine[0]:>9}{mine[1]['epoch']:6}{mine[2]:9.0f}{ratio:7.3f}" if mine else f"{text}   not reached")
    tried = sum(seconds_until(entries, len(entries)) for entries in list(ours.values())[:-1])
    print(f"{tried:.0f} s went into shorter runs of ours that did not reach the mark, and are not counted")
    return ratio


if __name__ == "__main__":
    sys.exit(main())
