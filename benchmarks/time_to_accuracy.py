"""Training time to reach the best dev rsum of VSE++ on the same frozen features and machine.

    ITEMBED_FLICKR8K=... ITEMBED_TORCH_PYTHON=... python -m benchmarks.time_to_accuracy [OUT] [--quick]

The peer, `benchmarks.vsepp`, needs `pip install torch numpy`, preferably in a separate environment; set
ITEMBED_TORCH_PYTHON to its interpreter. It is trained for 30 epochs on the features of configs/flickr8k.toml: once on
the plain view, once on all views (plain, mirrored, two crops). Its highest dev rsum is the target, and its training
seconds up to that epoch are the peer's time.

Then configs/flickr8k.toml is trained with increasing numbers of epochs until a run reaches the target. Its schedule
depends on its length, so a shorter run is not a prefix of a longer one: all epochs of a shortened run count; at the
config's full length, the epochs up to the target. Shorter runs that miss the target do not count; their time is
printed. Both sides are evaluated on dev after every epoch by the same function, with mirrored images averaged. Seconds
are those of the training loops, without features, start-up and evaluation; process times are printed too. Finished runs
in OUT are not trained again; use a new folder for a consistent measurement.

The figure is our time relative to the peer's; the ratios at 95 and 99 % of the target are printed above it. --quick
trains tiny models of both for one epoch on generated images as a smoke test; its target is 0, and it has no bar.
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

from benchmarks.runner import RECALL_HEAD, flickr8k, follow, print_versions, recalls, times, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k

HERE = Path(__file__).parents[1]
CONFIG = HERE / "configs" / "flickr8k.toml"
BAR = 0.125
LENGTHS = (4, 6, 8, 12, 16, 24)  # our epochs; the last is that of the config
PEERS = {  # name -> settings of benchmarks.vsepp; the sum is VSE0, trained when --peers asks for it
    "max-plain": ("--hinge", "max", "--views", "1"),
    "max-views": ("--hinge", "max", "--views", "4"),
    "sum-plain": ("--hinge", "sum", "--views", "1"),
    "sum-views": ("--hinge", "sum", "--views", "4"),
}
TINY_PEER = ("--epochs", "1", "--batch-size", "8", "--word-width", "16", "--embedding-size", "32")
SPECIAL = {"": 0, "<start>": 1, "<end>": 2, "<unknown>": 3}  # ids before those of the words
MIN_COUNT = 4  # minimum occurrences of a word in the peer's vocabulary

History = list[dict[str, Any]]
Reached = tuple[str, dict[str, Any], float]  # name, entry, seconds


def torch_python() -> str:
    """The interpreter with PyTorch.

    Raises:
        SystemExit: it cannot import torch; the message says what to install.
    """
    python = os.environ.get("ITEMBED_TORCH_PYTHON", sys.executable)
    code = "import numpy, torch; print('peer: torch', torch.__version__, 'numpy', numpy.__version__)"
    try:
        probe = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        problem = (probe.stderr.strip().splitlines() or [f"ended with {probe.returncode}"])[-1]
    except OSError as error:
        problem, probe = str(error), None
    if probe is None or probe.returncode:
        raise SystemExit(
            f"time_to_accuracy: VSE++ needs the package torch, which {python} cannot import ({problem}); "
            "pip install torch numpy, preferably in a separate environment, and set ITEMBED_TORCH_PYTHON to its "
            "interpreter"
        )
    print(probe.stdout.strip())
    return python


def peer_ids(captions: Sequence[str], known: Mapping[str, int], tokenize: Any) -> np.ndarray:
    """Token ids int32 [m, L] as in the peer's public code: start, words or <unknown>, end, then 0 for padding."""
    start, end, unknown = (SPECIAL[name] for name in ("<start>", "<end>", "<unknown>"))
    sequences = [[start, *(known.get(word, unknown) for word in tokenize(c)), end] for c in captions]
    rows = np.zeros((len(sequences), max(map(len, sequences))), np.int32)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence
    return rows


def write_data(folder: Path, overrides: Sequence[str]) -> None:
    """Write the features and captions of a run of CONFIG in the format of `benchmarks.vsepp`."""
    from itembed_tf.config import load_config
    from itembed_tf.data.batches import flatten

    # The functions of the training program: the same unreadable images and the same cached features.
    from itembed_tf.pipeline.training_data import readable_groups
    from itembed_tf.text import build_vocabulary, tokenize_captions
    from itembed_tf.training.build import build_model
    from itembed_tf.training.frozen_outputs import image_features

    config = load_config(CONFIG, overrides)
    groups, *_ = readable_groups(config, folder, None)
    items = {split: flatten([g for g in groups if g.split == split]) for split in ("train", "dev")}
    vocabulary = build_vocabulary(
        tokenize_captions(items["train"].captions, tokenizer="words", lowercase=True),
        tokenizer="words",
        lowercase=True,
        length=1,
        min_count=MIN_COUNT,
        only_with_vectors=False,
    )
    known = {word: len(SPECIAL) + number for number, word in enumerate(vocabulary.words)}
    print(f"peer: {len(known):,} words with at least {MIN_COUNT} occurrences in the training captions", flush=True)
    model = build_model(config, vocabulary_size=2, classes=1)
    views = {"train": config.stages[0].cached_views, "dev": 1 + config.evaluation.flip}
    for split, part in items.items():
        mirror = config.augmentation.flip if split == "train" else config.evaluation.flip
        features = image_features(config, model, part, views[split], mirror=mirror)
        if not np.array_equal(part.image_groups, np.arange(len(part.images))):
            raise SystemExit(f"time_to_accuracy: {split} has groups of several images, which the peer does not support")
        np.savez(
            folder / f"{split}.npz",
            views=np.stack(features),
            ids=peer_ids(part.captions, known, vocabulary.tokenize),
            images=part.caption_groups,
        )


def history(run: Path) -> History:
    """Entries of a run's history.jsonl: "epoch", "seconds", "val"; the same format on both sides."""
    return [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def best(entries: History) -> dict[str, Any]:
    """The entry with the highest dev rsum; ties: the first."""
    return max(entries, key=lambda entry: entry["val"]["rsum"])


def seconds_until(entries: History, epoch: int) -> float:
    """Training seconds up to the end of an epoch."""
    return sum(entry["seconds"] for entry in entries if entry["epoch"] <= epoch)


def quickest(runs: Mapping[str, History], target: float, whole: Collection[str] = ()) -> Reached | None:
    """The run that reached the target fastest, its first entry there, and its seconds.

    For runs in `whole`, all epochs count, because their schedule ended later.
    """
    found: list[Reached] = []
    for name, entries in runs.items():
        entry = next((entry for entry in entries if entry["val"]["rsum"] >= target), None)
        if entry:
            last = entries[-1]["epoch"] if name in whole else entry["epoch"]
            found.append((name, entry, seconds_until(entries, last)))
    return min(found, key=lambda each: each[2], default=None)


def measure_peer(out: Path, python: str, names: Sequence[str], more: Sequence[str]) -> dict[str, History]:
    """Train VSE++ with the named settings; returns the histories."""
    for name in names:
        run = out / f"peer-{name}"
        command = [python, "-m", "benchmarks.vsepp", str((out / "data").resolve()), str(run.resolve())]
        follow([*command, *PEERS[name], *more], run, cwd=HERE)
    return {name: history(out / f"peer-{name}") for name in names}


def measure_ours(out: Path, target: float, lengths: Sequence[int], overrides: Sequence[str]) -> dict[str, History]:
    """Train CONFIG with increasing numbers of epochs until the target is reached; returns the histories."""
    found: dict[str, History] = {}
    for epochs in lengths:
        name = f"ours-{epochs}"
        train(out / name, CONFIG, [*overrides, f"stages.0.epochs={epochs}", "stages.0.evaluate_every=1"])
        found[name] = history(out / name)
        if quickest(found, target):
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
    parser.add_argument(
        "--lengths", nargs="+", type=int, default=list(LENGTHS), metavar="EPOCHS", help="lengths to try"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of both sides")
    parser.add_argument("--quick", action="store_true", help="tiny models, one epoch, generated images")
    args = parser.parse_args(argv)
    python = torch_python()
    print_versions()
    print(f"load average: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "", flush=True)
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            overrides = [*SMALL, f"dataset.root={json.dumps(write_tiny_flickr8k(Path(folder) / 'images'))}"]
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
    """Measure both sides, print tables and verdict."""
    from itembed_tf.config import load_config

    (out / "data").mkdir(parents=True, exist_ok=True)
    write_data(out / "data", overrides)
    peers = measure_peer(out, python, args.peers, more)
    target = 0.0 if args.quick else max(best(entries)["val"]["rsum"] for entries in peers.values())
    ours = measure_ours(out, target, lengths, overrides)
    shortened = {name for name in ours if name != f"ours-{load_config(CONFIG, overrides).stages[0].epochs}"}

    print_runs(out, {f"peer-{name}": entries for name, entries in peers.items()} | ours)
    ratio = compare_at(target, peers, ours, shortened)
    bar = "none" if args.quick else f"{BAR:.3f}"
    if ratio == math.inf:
        return verdict("time_to_accuracy", f"dev rsum {target:.1f} not reached", bar, False)
    return verdict("time_to_accuracy", f"{ratio:.3f} of VSE++'s time", bar, args.quick or ratio <= BAR)


def print_runs(out: Path, runs: Mapping[str, History]) -> None:
    """Print every run at its best epoch."""
    print(f"\n{'':16}{'best':>5}{'rsum':>8}{RECALL_HEAD}{'seconds':>9}{'all':>7}{'process':>9}")
    for name, entries in runs.items():
        top, table = best(entries), best(entries)["val"]
        print(f"{name:16}{top['epoch']:5}{table['rsum']:8.1f}{recalls(table)}", end="")
        print(f"{seconds_until(entries, top['epoch']):9.0f}{seconds_until(entries, len(entries)):7.0f}", end="")
        print(f"{times(out / name)['seconds']:9.0f}")
    print("best: epoch of the highest dev rsum; in percent, i: image → text, t: text → image; seconds: of the")
    print("training loop to that epoch; all: to the last; process: with start-up, evaluation, report and export")


def compare_at(
    target: float, peers: Mapping[str, History], ours: Mapping[str, History], whole: Collection[str]
) -> float:
    """Print both sides' times to 95, 99 and 100 % of the target; returns the last ratio, or infinity."""
    print(f"\n{'dev rsum':>15}{'VSE++':>12}{'epoch':>6}{'seconds':>9}{'ours':>9}{'epoch':>6}{'seconds':>9}{'ratio':>7}")
    ratio = math.inf
    for share in (0.95, 0.99, 1.0):  # the last one is the figure
        peer, mine = quickest(peers, share * target), quickest(ours, share * target, whole)
        assert peer is not None
        ratio = mine[2] / peer[2] if mine else math.inf
        text = f"{share:7.0%}{share * target:8.1f}{peer[0]:>12}{peer[1]['epoch']:6}{peer[2]:9.0f}"
        print(f"{text}{mine[0]:>9}{mine[1]['epoch']:6}{mine[2]:9.0f}{ratio:7.3f}" if mine else f"{text}   not reached")
    tried = sum(seconds_until(entries, len(entries)) for entries in list(ours.values())[:-1])
    print(f"{tried:.0f} s were spent on our shorter runs that missed the target; they do not count")
    return ratio


if __name__ == "__main__":
    sys.exit(main())
